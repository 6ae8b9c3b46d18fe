/// The fixed newstyle handshake of one connection, from the server's side: bytes in, bytes and a result out.
/// Protocol text, "Fixed newstyle negotiation".
///
/// 1. `greeting` goes out first.
/// 2. `receive` takes whatever has come; it answers option by option.
/// 3. `.startTLS` asks for the connection to be encrypted from here on; 2. goes on inside.
/// 4. `.transmission` or `.close` ends it. Bytes behind the last option stay in the input: they are requests.
public struct Handshake {
    /// What `receive` came to.
    public enum Progress: Equatable, Sendable {
        /// More bytes are needed.
        case needsMore
        /// Enough has been said for now: once the output has been sent, call again with what is left of the input.
        case needsSending
        /// Before the client is told of that export, somebody has to look at what is behind it: once that has been done, and
        /// the handshake `looked`, call again with the same input.
        case needsLook(at: String)
        /// The catalog can't tell yet whether the client may have the export that it has chosen: call again with what is
        /// left of the input once it can.
        case needsAdmission
        /// Once the output has been sent, TLS begins. What has come already came in the clear and must be thrown away.
        case startTLS
        /// The client has chosen an export; what it sends next are requests.
        case transmission(Negotiation)
        /// The connection is over, after the output has been sent.
        case close
    }

    private enum State {
        case clientFlags
        case option
        /// A refused option's payload is still coming.
        case draining(Int, type: UInt32)
        /// A LIST is being answered: all exports, and how many have been named.
        case listing([ExportDescription], named: Int)
        case ended
    }

    private let tls: TLSPolicy
    private var state = State.clientFlags
    private var isSecure = false
    private var sendsZeroes = true
    private var optionsSeen = 0
    /// Whether somebody has looked at what the next option asks for.
    private var hasLooked = false
    /// Why the client can't have it all the same.
    private var refusal: String?
    private var optionsRefused = 0
    private var style = HeaderStyle.simple
    private var contexts: [MetaContext] = []
    /// The export that the contexts were chosen for.
    private var contextExport: String?

    /// At the start of a connection.
    public init(tls: TLSPolicy) {
        self.tls = tls
    }

    /// Options that the server has answered without an error: they tell the client something.
    public var optionsServed: Int { optionsSeen - optionsRefused }

    /// What the server says first.
    public var greeting: [UInt8] {
        var out = ByteWriter()
        out.append(Wire.magic)
        out.append(Wire.optionMagic)
        out.append(Wire.handshakeFlags)
        return out.bytes
    }

    /// Takes in bytes of the client.
    /// - Parameters:
    ///   - input: all that is unread; what has been understood is removed from its front. It never needs to hold more
    ///     than 64 KiB plus one header.
    ///   - output: answers are added at its end.
    ///   - catalog: asked when the client asks.
    public mutating func receive(
        _ input: inout ArraySlice<UInt8>, output: inout [UInt8], catalog: some ExportCatalog
    ) -> Progress {
        while true {
            if case .listing(let exports, let named) = state, !list(exports, from: named, &output) {
                return .needsSending
            }
            let before = input.count
            let progress = step(&input, &output, catalog)
            guard progress == .needsMore else { return progress }
            if input.count == before { return .needsMore }
            if output.count >= Wire.enoughOutput { return .needsSending }
        }
    }

    /// What `needsLook` asked for has been done.
    /// - Parameter refusal: why the client can't have the export, for the client; nil where it can.
    public mutating func looked(refusal: String?) {
        hasLooked = true
        self.refusal = refusal
    }

    /// Takes at most one item off the input; none, and `.needsMore`, where it is not complete.
    private mutating func step(
        _ input: inout ArraySlice<UInt8>, _ output: inout [UInt8], _ catalog: some ExportCatalog
    ) -> Progress {
        switch state {
        case .clientFlags: return takeClientFlags(&input)
        case .option: return takeOption(&input, &output, catalog)
        case .draining(let left, let type): return drain(left, type, &input, &output)
        case .listing: return .needsMore
        case .ended: return .close
        }
    }

    // MARK: Framing

    private mutating func takeClientFlags(_ input: inout ArraySlice<UInt8>) -> Progress {
        var reader = ByteReader(input)
        guard let flags: UInt32 = reader.integer() else { return .needsMore }
        input.removeFirst(4)
        // A client that is not fixed newstyle may only send EXPORT_NAME; what it can't parse it won't be sent.
        guard flags & ~(Wire.clientFixedNewstyle | Wire.clientNoZeroes) == 0 else { return end(.close) }
        sendsZeroes = flags & Wire.clientNoZeroes == 0
        state = .option
        return .needsMore
    }

    private mutating func takeOption(
        _ input: inout ArraySlice<UInt8>, _ output: inout [UInt8], _ catalog: some ExportCatalog
    ) -> Progress {
        var reader = ByteReader(input)
        guard let magic: UInt64 = reader.integer(), let type: UInt32 = reader.integer(),
            let length: UInt32 = reader.integer()
        else { return .needsMore }
        guard magic == Wire.optionMagic, mayAskMore(catalog) else { return end(.close) }
        let headerLength = 16
        guard length <= Wire.maximumOptionPayload else {
            // EXPORT_NAME can't be answered with an error.
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
        let progress = answer(type, payload, &output, catalog)
        guard progress != .needsAdmission else { return progress }
        (hasLooked, refusal) = (false, nil)
        optionsSeen += 1
        input.removeFirst(headerLength + Int(length))
        return progress
    }

    /// A client may ask several things about every export; beyond that its options lead nowhere.
    private func mayAskMore(_ catalog: some ExportCatalog) -> Bool {
        if optionsSeen < Wire.maximumOptions { return true }
        return optionsSeen / Wire.optionsPerExport < catalog.exportCount
    }

    private mutating func drain(
        _ left: Int, _ type: UInt32, _ input: inout ArraySlice<UInt8>, _ output: inout [UInt8]
    ) -> Progress {
        let count = min(left, input.count)
        input.removeFirst(count)
        guard count == left else {
            state = .draining(left - count, type: type)
            return .needsMore
        }
        optionsSeen += 1
        state = .option
        // Even a SET_META_CONTEXT that fails replaces what was set before.
        if type == Option.setMetaContext.rawValue { forgetContexts() }
        reply(isOpen ? .tooBig : .tlsRequired, to: type, text: "option too long", &output)
        return .needsMore
    }

    // MARK: Options

    /// Whether anything may be told to this client.
    private var isOpen: Bool { isSecure || tls != .required }

    /// Whether this client may be told of the export.
    private func isOpen(_ export: ExportDescription) -> Bool { isSecure || !export.requiresTLS }

    private mutating func answer(
        _ type: UInt32, _ payload: ArraySlice<UInt8>, _ output: inout [UInt8], _ catalog: some ExportCatalog
    ) -> Progress {
        let option = Option(rawValue: type)
        guard isOpen || option == .startTLS || option == .abort else {
            // The one option without an error reply.
            guard option != .exportName else { return end(.close) }
            reply(.tlsRequired, to: type, text: "this server requires TLS", &output)
            return .needsMore
        }
        switch option {
        case .exportName:
            return answerExportName(payload, &output, catalog)
        case .abort:
            reply(.acknowledge, to: type, &output)
            return end(.close)
        case .list:
            answerList(payload, catalog, &output)
        case .startTLS:
            return answerStartTLS(payload, &output)
        case .info, .go:
            return answerInformation(type, payload, &output, catalog)
        case .structuredReply, .extendedHeaders:
            answerStyle(option == .extendedHeaders ? .extended : .structured, type, payload, &output)
        case .listMetaContext:
            answerListMetaContext(payload, &output, catalog)
        case .setMetaContext:
            answerSetMetaContext(payload, &output, catalog)
        case nil:
            reply(.unsupported, to: type, text: "option not supported", &output)
        }
        return .needsMore
    }

    /// The export whose size the answer tells; nil where it tells none.
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

    /// A server that has no such export can only hang up.
    private mutating func answerExportName(
        _ payload: ArraySlice<UInt8>, _ output: inout [UInt8], _ catalog: some ExportCatalog
    ) -> Progress {
        var reader = ByteReader(payload)
        // There is no 64-bit form of this option's answer: who has asked for extended headers may not use it.
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
        _ payload: ArraySlice<UInt8>, _ catalog: some ExportCatalog, _ output: inout [UInt8]
    ) {
        let type = Option.list.rawValue
        guard payload.isEmpty else { return reply(.invalid, to: type, text: "LIST takes no data", &output) }
        guard let exports = catalog.exports() else {
            return reply(.policy, to: type, text: "this server lists no exports", &output)
        }
        state = .listing(exports, named: 0)
    }

    /// Names exports to the client until all are named or enough has been said.
    /// - Returns: whether all are named.
    private mutating func list(_ exports: [ExportDescription], from first: Int, _ output: inout [UInt8]) -> Bool {
        let type = Option.list.rawValue
        let enough = output.count + Wire.enoughOutput
        for index in first..<exports.count {
            guard output.count < enough else {
                state = .listing(exports, named: index)
                return false
            }
            let export = exports[index]
            // An export that needs TLS is hidden from a client in the clear, as nbd-server hides it.
            guard isOpen(export) else { continue }
            var item = ByteWriter()
            item.append(UInt32(export.name.utf8.count))
            item.append(export.name)
            item.append(export.text)
            reply(.server, to: type, payload: item.bytes, &output)
        }
        reply(.acknowledge, to: type, &output)
        state = .option
        return true
    }

    private mutating func answerStartTLS(_ payload: ArraySlice<UInt8>, _ output: inout [UInt8]) -> Progress {
        let type = Option.startTLS.rawValue
        if tls == .off {
            reply(.policy, to: type, text: "this server has no TLS", &output)
        } else if isSecure || !payload.isEmpty {
            let text = isSecure ? "TLS is on already" : "STARTTLS takes no data"
            reply(.invalid, to: type, text: text, &output)
        } else {
            reply(.acknowledge, to: type, &output)
            isSecure = true
            style = .simple
            forgetContexts()
            return .startTLS
        }
        return .needsMore
    }

    private mutating func answerStyle(
        _ wanted: HeaderStyle, _ type: UInt32, _ payload: ArraySlice<UInt8>, _ output: inout [UInt8]
    ) {
        guard payload.isEmpty else { return reply(.invalid, to: type, text: "the option takes no data", &output) }
        guard style != .extended || wanted == .extended else {
            return reply(.extendedHeadersRequired, to: type, text: "extended headers are on already", &output)
        }
        style = wanted
        reply(.acknowledge, to: type, &output)
    }

    // MARK: INFO and GO

    private mutating func answerInformation(
        _ type: UInt32, _ payload: ArraySlice<UInt8>, _ output: inout [UInt8], _ catalog: some ExportCatalog
    ) -> Progress {
        guard let (name, wanted) = Self.parseInformationRequest(payload) else {
            reply(.invalid, to: type, text: "malformed request for an export", &output)
            return .needsMore
        }
        guard let export = openExport(named: name, for: type, &output, catalog) else { return .needsMore }
        if let refusal {
            reply(.unknownExport, to: type, text: refusal, &output)
            return .needsMore
        }
        let isChoice = type == Option.go.rawValue
        switch isChoice ? catalog.admission(to: export) : .granted {
        case .granted: break
        case .undecided: return .needsAdmission
        case .refused:
            reply(.policy, to: type, text: "the export has as many clients as it may have", &output)
            return .needsMore
        }
        for item in information(on: export, wanted) { reply(.information, to: type, payload: item, &output) }
        reply(.acknowledge, to: type, &output)
        return isChoice ? end(.transmission(negotiation(export))) : .needsMore
    }

    /// The export that an option names; nil after an error has been replied.
    private mutating func openExport(
        named name: String, for type: UInt32, _ output: inout [UInt8], _ catalog: some ExportCatalog
    ) -> ExportDescription? {
        guard let export = catalog.export(named: name) else {
            reply(.unknownExport, to: type, text: "no such export", &output)
            return nil
        }
        guard isOpen(export) else {
            reply(.tlsRequired, to: type, text: "this export requires TLS", &output)
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

    /// Size and flags are always told, and so are the block sizes: a client may use them and need not ask.
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
        _ payload: ArraySlice<UInt8>, _ output: inout [UInt8], _ catalog: some ExportCatalog
    ) {
        let type = Option.listMetaContext.rawValue
        guard let (export, queries) = metaContextRequest(type, payload, &output, catalog) else { return }
        for context in MetaContext.all(of: export) {
            let isWanted =
                queries.isEmpty || queries.contains { context.matches($0, acceptsWildcard: true) }
            if isWanted { replyContext(context, id: 0, to: type, &output) }
        }
        reply(.acknowledge, to: type, &output)
    }

    private mutating func answerSetMetaContext(
        _ payload: ArraySlice<UInt8>, _ output: inout [UInt8], _ catalog: some ExportCatalog
    ) {
        let type = Option.setMetaContext.rawValue
        forgetContexts()
        guard let (export, queries) = metaContextRequest(type, payload, &output, catalog) else { return }
        contextExport = export.name
        contexts = MetaContext.all(of: export).filter { context in
            queries.contains { context.matches($0, acceptsWildcard: false) }
        }
        for context in contexts { replyContext(context, id: context.id, to: type, &output) }
        reply(.acknowledge, to: type, &output)
    }

    /// What a client asks of which export; nil after an error has been replied.
    private mutating func metaContextRequest(
        _ type: UInt32, _ payload: ArraySlice<UInt8>, _ output: inout [UInt8], _ catalog: some ExportCatalog
    ) -> (ExportDescription, [String])? {
        guard style != .simple else {
            reply(.invalid, to: type, text: "ask for structured replies first", &output)
            return nil
        }
        guard let (name, queries) = Self.parseMetaContextRequest(payload) else {
            reply(.invalid, to: type, text: "malformed request for contexts", &output)
            return nil
        }
        guard let export = openExport(named: name, for: type, &output, catalog) else { return nil }
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

    private mutating func replyContext(_ context: MetaContext, id: UInt32, to type: UInt32, _ output: inout [UInt8]) {
        var out = ByteWriter()
        out.append(id)
        out.append(context.name)
        reply(.metaContext, to: type, payload: out.bytes, &output)
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

    private mutating func reply(_ kind: OptionReply, to type: UInt32, text: String, _ output: inout [UInt8]) {
        reply(kind, to: type, payload: Array(text.utf8), &output)
    }

    private mutating func reply(
        _ kind: OptionReply, to type: UInt32, payload: [UInt8] = [], _ output: inout [UInt8]
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
