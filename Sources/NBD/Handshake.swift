/// The server's side of the fixed newstyle handshake of one connection: bytes in, bytes and a result out. Protocol
/// text, "Fixed newstyle negotiation".
///
/// 1. `greeting` is sent first.
/// 2. `receive` takes the bytes that have come and answers option by option.
/// 3. `.startTLS` asks for the connection to be encrypted; step 2 then continues inside TLS.
/// 4. `.transmission` or `.close` ends it. Bytes behind the last option stay in the input: they are requests.
public struct Handshake {
    /// The result of `receive`: what the caller does next.
    public enum Progress: Equatable, Sendable {
        /// Call again when more bytes have come.
        case needsMore
        /// The answer is long: call again with the rest of the input once the output has been sent.
        case needsSending
        /// The named export must be examined before the client is told about it. Call `looked` when that is done, and
        /// then `receive` with the same input.
        case needsLook(at: String)
        /// The catalog can't decide yet whether the client gets the export: call again with the same input when it
        /// can.
        case needsAdmission
        /// TLS begins once the output has been sent. Bytes that have already come were sent in the clear and must be
        /// dropped.
        case startTLS
        /// The client has chosen an export; all further bytes are requests.
        case transmission(Negotiation)
        /// The connection ends once the output has been sent.
        case close
    }

    private enum State {
        case clientFlags
        case option
        /// The payload of a refused option is still to come, so many bytes.
        case draining(Int, type: UInt32)
        /// A LIST is being answered; `named` of the exports have been sent.
        case listing([ExportDescription], named: Int)
        case ended
    }

    private let tls: TLSPolicy
    private var state = State.clientFlags
    private var isSecure = false
    private var sendsZeroes = true
    private var optionsSeen = 0
    /// Whether `looked` was called for the next option.
    private var hasLooked = false
    /// The reason, for the client, why it can't have the export that was examined; nil if it can.
    private var refusal: String?
    private var optionsRefused = 0
    private var style = HeaderStyle.simple
    private var contexts: [MetaContext] = []
    /// The export for which `contexts` were chosen; nil if there is none.
    private var contextExport: String?

    /// Creates the handshake of a new connection.
    public init(tls: TLSPolicy) {
        self.tls = tls
    }

    /// The options that the server has answered without an error; they show that the client makes progress.
    public var optionsServed: Int { optionsSeen - optionsRefused }

    /// The first bytes of the server.
    public var greeting: [UInt8] {
        var out = ByteWriter()
        out.append(Wire.magic)
        out.append(Wire.optionMagic)
        out.append(Wire.handshakeFlags)
        return out.bytes
    }

    /// Processes bytes of the client.
    /// - Parameters:
    ///   - input: all unread bytes; complete items are removed from its front. It never needs to hold more than 64 KiB
    ///     plus one header.
    ///   - output: answers are appended to it.
    ///   - catalog: the exports.
    public mutating func receive(
        _ input: inout ArraySlice<UInt8>, output: inout [UInt8], catalog: some ExportCatalog
    ) -> Progress {
        while true {
            if case .listing(let exports, let named) = state, !list(exports, from: named, output: &output) {
                return .needsSending
            }
            let before = input.count
            let progress = step(&input, output: &output, catalog: catalog)
            guard progress == .needsMore else { return progress }
            if input.count == before { return .needsMore }
            if output.count >= Wire.enoughOutput { return .needsSending }
        }
    }

    /// Continues after `needsLook`: the export has been examined.
    /// - Parameter refusal: the reason, for the client, why it can't have the export; nil if it can.
    public mutating func looked(refusal: String?) {
        hasLooked = true
        self.refusal = refusal
    }

    /// Processes at most one item; returns `.needsMore` and takes nothing if the item is incomplete.
    private mutating func step(
        _ input: inout ArraySlice<UInt8>, output: inout [UInt8], catalog: some ExportCatalog
    ) -> Progress {
        switch state {
        case .clientFlags: return parseClientFlags(&input)
        case .option: return processOption(&input, output: &output, catalog: catalog)
        case .draining(let left, let type): return drain(left, of: type, &input, output: &output)
        case .listing: return .needsMore
        case .ended: return .close
        }
    }

    // MARK: Framing

    private mutating func parseClientFlags(_ input: inout ArraySlice<UInt8>) -> Progress {
        var reader = ByteReader(input)
        guard let flags: UInt32 = reader.integer() else { return .needsMore }
        input.removeFirst(4)
        // A client that does not know fixed newstyle may only send EXPORT_NAME; it gets no reply that it could not
        // parse.
        guard flags & ~(Wire.clientFixedNewstyle | Wire.clientNoZeroes) == 0 else { return end(.close) }
        sendsZeroes = flags & Wire.clientNoZeroes == 0
        state = .option
        return .needsMore
    }

    private mutating func processOption(
        _ input: inout ArraySlice<UInt8>, output: inout [UInt8], catalog: some ExportCatalog
    ) -> Progress {
        var reader = ByteReader(input)
        guard let magic: UInt64 = reader.integer(), let type: UInt32 = reader.integer(),
            let length: UInt32 = reader.integer()
        else { return .needsMore }
        guard magic == Wire.optionMagic, mayAskMore(catalog) else { return end(.close) }
        let headerLength = 16
        guard length <= Wire.maximumOptionPayload else {
            // EXPORT_NAME has no error reply.
            guard type != Option.exportName.rawValue else { return end(.close) }
            input.removeFirst(headerLength)
            state = .draining(Int(length), type: type)
            return .needsMore
        }
        guard input.count >= headerLength + Int(length) else { return .needsMore }
        let payload = input.dropFirst(headerLength).prefix(Int(length))
        if !hasLooked, let name = chosenName(type, payload), catalog.needsLook(at: name) {
            return .needsLook(at: name)
        }
        let progress = answer(type, payload, output: &output, catalog: catalog)
        guard progress != .needsAdmission else { return progress }
        (hasLooked, refusal) = (false, nil)
        optionsSeen += 1
        input.removeFirst(headerLength + Int(length))
        return progress
    }

    /// Allows a client several options for each export; more of them lead nowhere.
    private func mayAskMore(_ catalog: some ExportCatalog) -> Bool {
        if optionsSeen < Wire.maximumOptions { return true }
        return optionsSeen / Wire.optionsPerExport < catalog.exportCount
    }

    private mutating func drain(
        _ left: Int, of type: UInt32, _ input: inout ArraySlice<UInt8>, output: inout [UInt8]
    ) -> Progress {
        let count = min(left, input.count)
        input.removeFirst(count)
        guard count == left else {
            state = .draining(left - count, type: type)
            return .needsMore
        }
        optionsSeen += 1
        state = .option
        // Even a failed SET_META_CONTEXT discards the contexts that were set before.
        if type == Option.setMetaContext.rawValue { forgetContexts() }
        reply(isOpen ? .tooBig : .tlsRequired, to: type, text: "option too long", output: &output)
        return .needsMore
    }

    // MARK: Options

    /// Whether this client may be told anything.
    private var isOpen: Bool { isSecure || tls != .required }

    /// Whether this client may be told about the export.
    private func isOpen(_ export: ExportDescription) -> Bool { isSecure || !export.requiresTLS }

    private mutating func answer(
        _ type: UInt32, _ payload: ArraySlice<UInt8>, output: inout [UInt8], catalog: some ExportCatalog
    ) -> Progress {
        let option = Option(rawValue: type)
        guard isOpen || option == .startTLS || option == .abort else {
            // EXPORT_NAME is the one option without an error reply.
            guard option != .exportName else { return end(.close) }
            reply(.tlsRequired, to: type, text: "this server requires TLS", output: &output)
            return .needsMore
        }
        switch option {
        case .exportName:
            return answerExportName(payload, output: &output, catalog: catalog)
        case .abort:
            reply(.acknowledge, to: type, output: &output)
            return end(.close)
        case .list:
            answerList(payload, catalog: catalog, output: &output)
        case .startTLS:
            return answerStartTLS(payload, output: &output)
        case .info, .go:
            return answerInformation(type, payload, output: &output, catalog: catalog)
        case .structuredReply, .extendedHeaders:
            answerStyle(option == .extendedHeaders ? .extended : .structured, for: type, payload, output: &output)
        case .listMetaContext:
            answerListMetaContext(payload, output: &output, catalog: catalog)
        case .setMetaContext:
            answerSetMetaContext(payload, output: &output, catalog: catalog)
        case nil:
            reply(.unsupported, to: type, text: "option not supported", output: &output)
        }
        return .needsMore
    }

    /// Returns the name of the export whose size the answer tells; nil if the answer tells none.
    private func chosenName(_ type: UInt32, _ payload: ArraySlice<UInt8>) -> String? {
        guard isOpen else { return nil }
        switch Option(rawValue: type) {
        case .exportName:
            var reader = ByteReader(payload)
            return payload.count <= Wire.maximumString ? reader.string(count: payload.count) : nil
        case .info, .go: return Self.parseInformationRequest(payload)?.0
        default: return nil
        }
    }

    /// Answers EXPORT_NAME. The connection ends if there is no such export, since the option has no error reply.
    private mutating func answerExportName(
        _ payload: ArraySlice<UInt8>, output: inout [UInt8], catalog: some ExportCatalog
    ) -> Progress {
        var reader = ByteReader(payload)
        // The reply has no 64-bit form, so a client that has asked for extended headers may not use this option.
        guard refusal == nil, style != .extended, payload.count <= Wire.maximumString,
            let name = reader.string(count: payload.count), let export = catalog.export(named: name), isOpen(export)
        else { return end(.close) }
        switch catalog.admission(to: export) {
        case .granted: break
        case .refused: return end(.close)
        case .undecided: return .needsAdmission
        }
        var out = ByteWriter()
        out.append(export.size)
        out.append(export.flags(style).rawValue)
        if sendsZeroes { out.appendZeros(124) }
        output += out.bytes
        return end(.transmission(negotiation(export)))
    }

    private mutating func answerList(
        _ payload: ArraySlice<UInt8>, catalog: some ExportCatalog, output: inout [UInt8]
    ) {
        let type = Option.list.rawValue
        guard payload.isEmpty else { return reply(.invalid, to: type, text: "LIST takes no data", output: &output) }
        guard let exports = catalog.exports() else {
            return reply(.policy, to: type, text: "this server lists no exports", output: &output)
        }
        state = .listing(exports, named: 0)
    }

    /// Sends the names of exports until all are sent or the output is long enough.
    /// - Returns: whether all are sent.
    private mutating func list(_ exports: [ExportDescription], from first: Int, output: inout [UInt8]) -> Bool {
        let type = Option.list.rawValue
        let enough = output.count + Wire.enoughOutput
        for index in first..<exports.count {
            guard output.count < enough else {
                state = .listing(exports, named: index)
                return false
            }
            let export = exports[index]
            // nbd-server, too, hides an export that needs TLS from a client in the clear.
            guard isOpen(export) else { continue }
            var item = ByteWriter()
            item.append(UInt32(export.name.utf8.count))
            item.append(export.name)
            item.append(export.text)
            reply(.server, to: type, payload: item.bytes, output: &output)
        }
        reply(.acknowledge, to: type, output: &output)
        state = .option
        return true
    }

    private mutating func answerStartTLS(_ payload: ArraySlice<UInt8>, output: inout [UInt8]) -> Progress {
        let type = Option.startTLS.rawValue
        if tls == .off {
            reply(.policy, to: type, text: "this server has no TLS", output: &output)
        } else if isSecure || !payload.isEmpty {
            let text = isSecure ? "TLS is on already" : "STARTTLS takes no data"
            reply(.invalid, to: type, text: text, output: &output)
        } else {
            reply(.acknowledge, to: type, output: &output)
            isSecure = true
            style = .simple
            forgetContexts()
            return .startTLS
        }
        return .needsMore
    }

    private mutating func answerStyle(
        _ wanted: HeaderStyle, for type: UInt32, _ payload: ArraySlice<UInt8>, output: inout [UInt8]
    ) {
        guard payload.isEmpty else {
            return reply(.invalid, to: type, text: "the option takes no data", output: &output)
        }
        guard style != .extended || wanted == .extended else {
            return reply(.extendedHeadersRequired, to: type, text: "extended headers are on already", output: &output)
        }
        style = wanted
        reply(.acknowledge, to: type, output: &output)
    }

    // MARK: INFO and GO

    private mutating func answerInformation(
        _ type: UInt32, _ payload: ArraySlice<UInt8>, output: inout [UInt8], catalog: some ExportCatalog
    ) -> Progress {
        guard let (name, wanted) = Self.parseInformationRequest(payload) else {
            reply(.invalid, to: type, text: "malformed request for an export", output: &output)
            return .needsMore
        }
        guard let export = openExport(named: name, for: type, output: &output, catalog: catalog) else {
            return .needsMore
        }
        if let refusal {
            reply(.unknownExport, to: type, text: refusal, output: &output)
            return .needsMore
        }
        let isChoice = type == Option.go.rawValue
        switch isChoice ? catalog.admission(to: export) : .granted {
        case .granted: break
        case .undecided: return .needsAdmission
        case .refused:
            reply(.policy, to: type, text: "the export has its maximum number of clients", output: &output)
            return .needsMore
        }
        for item in information(on: export, wanted) { reply(.information, to: type, payload: item, output: &output) }
        reply(.acknowledge, to: type, output: &output)
        return isChoice ? end(.transmission(negotiation(export))) : .needsMore
    }

    /// Finds the export that an option names; replies with an error and returns nil if the client can't have it.
    private mutating func openExport(
        named name: String, for type: UInt32, output: inout [UInt8], catalog: some ExportCatalog
    ) -> ExportDescription? {
        guard let export = catalog.export(named: name) else {
            reply(.unknownExport, to: type, text: "no such export", output: &output)
            return nil
        }
        guard isOpen(export) else {
            reply(.tlsRequired, to: type, text: "this export requires TLS", output: &output)
            return nil
        }
        return export
    }

    private static func parseInformationRequest(_ payload: ArraySlice<UInt8>) -> (String, Set<UInt16>)? {
        var reader = ByteReader(payload)
        guard let name = reader.prefixedString(), let count: UInt16 = reader.integer() else { return nil }
        var wanted: Set<UInt16> = []
        for _ in 0..<count {
            guard let item: UInt16 = reader.integer() else { return nil }
            wanted.insert(item)
        }
        return reader.isAtEnd ? (name, wanted) : nil
    }

    /// Size, flags and block sizes are always sent: a client may use them without having asked.
    private func information(on export: ExportDescription, _ wanted: Set<UInt16>) -> [[UInt8]] {
        var items: [[UInt8]] = []
        func add(_ type: Information, _ fill: (inout ByteWriter) -> Void) {
            var out = ByteWriter()
            out.append(type.rawValue)
            fill(&out)
            items.append(out.bytes)
        }
        add(.export) {
            $0.append(export.size)
            $0.append(export.flags(style).rawValue)
        }
        add(.blockSize) {
            $0.append(UInt32(1))
            $0.append(Wire.preferredBlockSize)
            $0.append(UInt32(Wire.maximumPayload))
        }
        if wanted.contains(Information.name.rawValue) { add(.name) { $0.append(export.name) } }
        if wanted.contains(Information.description.rawValue), !export.text.isEmpty {
            add(.description) { $0.append(export.text) }
        }
        return items
    }

    // MARK: Metadata contexts

    private mutating func answerListMetaContext(
        _ payload: ArraySlice<UInt8>, output: inout [UInt8], catalog: some ExportCatalog
    ) {
        let type = Option.listMetaContext.rawValue
        guard let (export, queries) = metaContextRequest(type, payload, output: &output, catalog: catalog) else {
            return
        }
        for context in MetaContext.all(of: export) {
            let isWanted =
                queries.isEmpty || queries.contains { context.matches($0, acceptsWildcard: true) }
            if isWanted { replyContext(context, id: 0, to: type, output: &output) }
        }
        reply(.acknowledge, to: type, output: &output)
    }

    private mutating func answerSetMetaContext(
        _ payload: ArraySlice<UInt8>, output: inout [UInt8], catalog: some ExportCatalog
    ) {
        let type = Option.setMetaContext.rawValue
        forgetContexts()
        guard let (export, queries) = metaContextRequest(type, payload, output: &output, catalog: catalog) else {
            return
        }
        contextExport = export.name
        contexts = MetaContext.all(of: export).filter { context in
            queries.contains { context.matches($0, acceptsWildcard: false) }
        }
        for context in contexts { replyContext(context, id: context.id, to: type, output: &output) }
        reply(.acknowledge, to: type, output: &output)
    }

    /// Parses the export and the queries of an option; replies with an error and returns nil if that fails.
    private mutating func metaContextRequest(
        _ type: UInt32, _ payload: ArraySlice<UInt8>, output: inout [UInt8], catalog: some ExportCatalog
    ) -> (ExportDescription, [String])? {
        guard style != .simple else {
            reply(.invalid, to: type, text: "ask for structured replies first", output: &output)
            return nil
        }
        guard let (name, queries) = Self.parseMetaContextRequest(payload) else {
            reply(.invalid, to: type, text: "malformed request for contexts", output: &output)
            return nil
        }
        guard let export = openExport(named: name, for: type, output: &output, catalog: catalog) else { return nil }
        return (export, queries)
    }

    private static func parseMetaContextRequest(_ payload: ArraySlice<UInt8>) -> (String, [String])? {
        var reader = ByteReader(payload)
        guard let name = reader.prefixedString(), let count: UInt32 = reader.integer() else { return nil }
        var queries: [String] = []
        for _ in 0..<count {
            guard let query = reader.prefixedString() else { return nil }
            queries.append(query)
        }
        return reader.isAtEnd ? (name, queries) : nil
    }

    private mutating func replyContext(_ context: MetaContext, id: UInt32, to type: UInt32, output: inout [UInt8]) {
        var out = ByteWriter()
        out.append(id)
        out.append(context.name)
        reply(.metaContext, to: type, payload: out.bytes, output: &output)
    }

    private mutating func forgetContexts() {
        contexts = []
        contextExport = nil
    }

    // MARK: The end

    private func negotiation(_ export: ExportDescription) -> Negotiation {
        Negotiation(export: export, style: style, contexts: contextExport == export.name ? contexts : [])
    }

    private mutating func end(_ progress: Progress) -> Progress {
        state = .ended
        return progress
    }

    private mutating func reply(_ kind: OptionReply, to type: UInt32, text: String, output: inout [UInt8]) {
        reply(kind, to: type, payload: Array(text.utf8), output: &output)
    }

    private mutating func reply(
        _ kind: OptionReply, to type: UInt32, payload: [UInt8] = [], output: inout [UInt8]
    ) {
        if kind.isError { optionsRefused += 1 }
        var out = ByteWriter()
        out.append(Wire.optionReplyMagic)
        out.append(type)
        out.append(kind.rawValue)
        out.append(UInt32(payload.count))
        output += out.bytes
        output += payload
    }
}
