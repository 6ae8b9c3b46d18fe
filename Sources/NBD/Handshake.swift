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

    enum State {
        case clientFlags
        case option
        /// The payload of a refused option is still to come, so many bytes.
        case draining(Int, type: UInt32)
        /// A LIST is being answered; `named` of the exports have been sent.
        case listing([ExportDescription], named: Int)
        case ended
    }

    let tls: TLSPolicy
    var state = State.clientFlags
    var isSecure = false
    var sendsZeroes = true
    var optionsSeen = 0
    /// Whether `looked` was called for the next option.
    var hasLooked = false
    /// The reason, for the client, why it can't have the export that was examined; nil if it can.
    var refusal: String?
    var optionsRefused = 0
    /// Why the client was not given the export that it asked for last, or the connection; nil if it was.
    public internal(set) var refused: HandshakeRefusal?
    var style = HeaderStyle.simple
    var contexts: [MetaContext] = []
    /// The export for which `contexts` were chosen; nil if there is none.
    var contextExport: String?

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
        guard flags & ~(Wire.clientFixedNewstyle | Wire.clientNoZeroes) == 0 else { return end(refusing: .malformed) }
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
        guard magic == Wire.optionMagic, mayAskMore(catalog) else { return end(refusing: .malformed) }
        let headerLength = 16
        guard length <= Wire.maximumOptionPayload else {
            // EXPORT_NAME has no error reply.
            guard type != Option.exportName.rawValue else { return end(refusing: .unknownExport) }
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

    // MARK: Ends and replies

    func negotiation(_ export: ExportDescription) -> Negotiation {
        Negotiation(export: export, style: style, contexts: contextExport == export.name ? contexts : [])
    }

    /// Closes the connection because of the client.
    mutating func end(refusing refusal: HandshakeRefusal) -> Progress {
        refused = refusal
        return end(.close)
    }

    mutating func end(_ progress: Progress) -> Progress {
        state = .ended
        return progress
    }

    mutating func reply(_ kind: OptionReply, to type: UInt32, text: String, output: inout [UInt8]) {
        reply(kind, to: type, payload: Array(text.utf8), output: &output)
    }

    mutating func reply(
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
