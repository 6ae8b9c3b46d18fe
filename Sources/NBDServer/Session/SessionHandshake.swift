import NBD

/// The handshake of one connection, between its input and its queue of replies.
///
/// 1. `receive` bytes of the client and `advance`.
/// 2. `queueOutput` until `isQueued`; a long answer needs several portions.
/// 3. `consumeProgress` tells what comes next.
struct SessionHandshake {
    private let exports: SessionExports
    private var handshake: Handshake
    private var pace = HandshakePace()
    /// Portions of the output that were queued so far.
    private var portions = 0
    private var input: [UInt8] = []
    /// Output that did not fit the queue of replies yet.
    private var output: ArraySlice<UInt8>
    private var progress = Handshake.Progress.needsMore

    /// Creates a handshake whose first output is the greeting.
    init(exports: SessionExports, policy: TLSPolicy) {
        self.exports = exports
        handshake = Handshake(tls: policy)
        output = handshake.greeting[...]
    }

    /// Whether all output is in the queue of replies.
    var isQueued: Bool { output.isEmpty }

    /// Why the client was not given what it asked for last; nil if it was.
    var refused: HandshakeRefusal? { handshake.refused }

    /// Whether the client makes no progress; to be asked every `ServerLimits.handshake` seconds.
    mutating func hasStalled() -> Bool {
        pace.hasStalled(options: handshake.optionsServed, portions: portions)
    }

    /// Moves all bytes of the client from `received`.
    mutating func receive(_ received: SessionInput) {
        if !received.isEmpty { input += UnsafeRawBufferPointer(start: received.bytes, count: received.count) }
        received.drop(received.count)
    }

    /// Processes the input, unless the client has to read earlier answers first.
    mutating func advance() {
        guard output.isEmpty else { return }
        var rest = input[...]
        var answers: [UInt8] = []
        progress = handshake.receive(&rest, output: &answers, catalog: exports)
        input = Array(rest)
        output = answers[...]
    }

    /// Queues the output as far as there is room; the rest follows when replies have been sent.
    /// - Returns: whether anything was queued.
    mutating func queueOutput(in replies: inout ReplyQueue) -> Bool {
        let before = portions
        while !output.isEmpty {
            let part = output.prefix(ServerLimits.handshakeStep)
            guard let room = replies.reserve(part.count, spare: 0) else { break }
            part.withUnsafeBytes { room.copyMemory(from: $0.baseAddress!, byteCount: $0.count) }
            replies.commit(part.count)
            output = output.dropFirst(part.count)
            portions += 1
        }
        return portions > before
    }

    /// Returns the result of the last `advance` once.
    mutating func consumeProgress() -> Handshake.Progress {
        defer { progress = .needsMore }
        return progress
    }

    /// Continues after the export was examined.
    /// - Parameter refusal: the reason, for the client, why it can't have the export; nil if it can.
    mutating func looked(refusal: String?) { handshake.looked(refusal: refusal) }

    /// Returns the input behind the last option and forgets it.
    mutating func consumeInput() -> [UInt8] {
        defer { input = [] }
        return input
    }
}
