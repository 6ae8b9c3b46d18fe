/// The fixed newstyle handshake of one connection, from the server's side: bytes in, bytes and a result out.
/// Protocol text, "Fixed newstyle negotiation".
///
/// 1. `greeting` goes out first.
/// 2. `receive` takes whatever has come; it answers option by option.
/// 3. `.transmission` or `.close` ends it. Bytes behind the last option stay in the input: they are requests.
public struct Handshake {
    /// What `receive` came to.
    public enum Progress: Equatable, Sendable {
        /// More bytes are needed.
        case needsMore
        /// The client has chosen an export; what it sends next are requests.
        case transmission(ExportDescription)
        /// The connection is over, after the output has been sent.
        case close
    }

    private enum State {
        case clientFlags
        case option
        /// A refused option's payload is still coming.
        case draining(Int, type: UInt32)
        case ended
    }

    private var state = State.clientFlags
    private var sendsZeroes = true
    private var optionsSeen = 0

    /// At the start of a connection.
    public init() {}

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
            let before = input.count
            let progress = step(&input, &output, catalog)
            guard progress == .needsMore else { return progress }
            if input.count == before { return .needsMore }
        }
    }

    /// Takes at most one item off the input; none, and `.needsMore`, where it is not complete.
    private mutating func step(
        _ input: inout ArraySlice<UInt8>, _ output: inout [UInt8], _ catalog: some ExportCatalog
    ) -> Progress {
        switch state {
        case .clientFlags: return takeClientFlags(&input)
        case .option: return takeOption(&input, &output, catalog)
        case .draining(let left, let type): return drain(left, type, &input, &output)
        case .ended: return .close
        }
    }

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
        guard magic == Wire.optionMagic, optionsSeen < Wire.maximumOptions else { return end(.close) }
        let headerLength = 16
        guard length <= Wire.maximumOptionPayload else {
            // EXPORT_NAME can't be answered with an error.
            guard type != Option.exportName.rawValue else { return end(.close) }
            input.removeFirst(headerLength)
            state = .draining(Int(length), type: type)
            return .needsMore
        }
        guard input.count >= headerLength + Int(length) else { return .needsMore }
        optionsSeen += 1
        let payload = input.dropFirst(headerLength).prefix(Int(length))
        input.removeFirst(headerLength + Int(length))
        return answer(type, payload, &output, catalog)
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
        reply(.tooBig, to: type, text: "option too long", &output)
        return .needsMore
    }

    private mutating func answer(
        _ type: UInt32, _ payload: ArraySlice<UInt8>, _ output: inout [UInt8], _ catalog: some ExportCatalog
    ) -> Progress {
        switch Option(rawValue: type) {
        case .exportName:
            return answerExportName(payload, &output, catalog)
        case .abort:
            reply(.acknowledge, to: type, &output)
            return end(.close)
        case .list:
            answerList(payload, &output, catalog)
            return .needsMore
        case .info, .go:
            return answerInformation(type, payload, &output, catalog)
        case nil:
            reply(.unsupported, to: type, text: "option not supported", &output)
            return .needsMore
        }
    }

    /// The one option without an error reply: a server that has no such export hangs up.
    private mutating func answerExportName(
        _ payload: ArraySlice<UInt8>, _ output: inout [UInt8], _ catalog: some ExportCatalog
    ) -> Progress {
        var reader = ByteReader(payload)
        guard payload.count <= Wire.maximumString, let name = reader.string(count: payload.count),
            let export = catalog.export(named: name)
        else { return end(.close) }
        var out = ByteWriter()
        out.append(export.size)
        out.append(export.flags.rawValue)
        if sendsZeroes { out.appendZeros(124) }
        output += out.bytes
        return end(.transmission(export))
    }

    private func answerList(
        _ payload: ArraySlice<UInt8>, _ output: inout [UInt8], _ catalog: some ExportCatalog
    ) {
        let type = Option.list.rawValue
        guard payload.isEmpty else { return reply(.invalid, to: type, text: "LIST takes no data", &output) }
        for export in catalog.exports() {
            var item = ByteWriter()
            item.append(UInt32(export.name.utf8.count))
            item.append(export.name)
            reply(.server, to: type, payload: item.bytes, &output)
        }
        reply(.acknowledge, to: type, &output)
    }

    private mutating func answerInformation(
        _ type: UInt32, _ payload: ArraySlice<UInt8>, _ output: inout [UInt8], _ catalog: some ExportCatalog
    ) -> Progress {
        guard let (name, wanted) = Self.parseInformationRequest(payload) else {
            reply(.invalid, to: type, text: "malformed request for an export", &output)
            return .needsMore
        }
        guard let export = catalog.export(named: name) else {
            reply(.unknownExport, to: type, text: "no such export", &output)
            return .needsMore
        }
        for item in Self.information(on: export, wanted) { reply(.information, to: type, payload: item, &output) }
        reply(.acknowledge, to: type, &output)
        return type == Option.go.rawValue ? end(.transmission(export)) : .needsMore
    }

    private static func parseInformationRequest(_ payload: ArraySlice<UInt8>) -> (String, Set<UInt16>)? {
        var reader = ByteReader(payload)
        guard let length: UInt32 = reader.integer(), length <= Wire.maximumString,
            let name = reader.string(count: Int(length)), let count: UInt16 = reader.integer()
        else { return nil }
        var wanted: Set<UInt16> = []
        for _ in 0..<count {
            guard let item: UInt16 = reader.integer() else { return nil }
            wanted.insert(item)
        }
        return reader.isAtEnd ? (name, wanted) : nil
    }

    /// Size and flags are always told, and so are the block sizes: a client may use them and need not ask.
    private static func information(on export: ExportDescription, _ wanted: Set<UInt16>) -> [[UInt8]] {
        var items: [[UInt8]] = []
        func add(_ type: Information, _ fill: (inout ByteWriter) -> Void) {
            var out = ByteWriter()
            out.append(type.rawValue)
            fill(&out)
            items.append(out.bytes)
        }
        add(.export) {
            $0.append(export.size)
            $0.append(export.flags.rawValue)
        }
        add(.blockSize) {
            $0.append(UInt32(1))
            $0.append(Wire.preferredBlockSize)
            $0.append(UInt32(Wire.maximumPayload))
        }
        if wanted.contains(Information.name.rawValue) { add(.name) { $0.append(export.name) } }
        return items
    }

    private mutating func end(_ progress: Progress) -> Progress {
        state = .ended
        return progress
    }

    private func reply(_ kind: OptionReply, to type: UInt32, text: String, _ output: inout [UInt8]) {
        reply(kind, to: type, payload: Array(text.utf8), &output)
    }

    private func reply(_ kind: OptionReply, to type: UInt32, payload: [UInt8] = [], _ output: inout [UInt8]) {
        var out = ByteWriter()
        out.append(Wire.optionReplyMagic)
        out.append(type)
        out.append(kind.rawValue)
        out.append(UInt32(payload.count))
        output += out.bytes
        output += payload
    }
}
