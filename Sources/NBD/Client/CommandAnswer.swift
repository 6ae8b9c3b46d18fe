/// Judges the answer to one command of a client, chunk by chunk. Nothing that a server sends can lead outside the command's
/// range.
package struct CommandAnswer: Sendable {
    /// The use of the bytes that follow a chunk's header.
    package enum Step: Equatable, Sendable {
        /// The server does not keep to the protocol, and the position in the stream is lost.
        case malformed
        /// They are `count` bytes for the read's buffer, from `position` on.
        case store(position: Int, count: Int)
        /// There are none; `count` bytes of the read's buffer are zero, from `position` on.
        case zero(position: Int, count: Int)
        /// They are `count` bytes of extents.
        case extents(count: Int)
        /// They are `count` bytes of no use.
        case skip(count: Int)
    }

    private let command: Command
    private let offset: UInt64
    private let length: UInt64
    private let isStructured: Bool
    private let context: UInt32?
    private var hasBegun = false
    private var coverage = ReadCoverage()
    private var hasStatus = false
    private var error: UInt32 = 0

    /// Creates the state before the first chunk.
    /// - Parameters:
    ///   - offset: where the command's range begins, in bytes.
    ///   - length: bytes of the range; a read has at most `Int32.max`.
    ///   - isStructured: whether client and server have agreed on structured replies.
    ///   - context: the server's number for the context whose extents are of use; nil if no extents are.
    package init(_ command: Command, offset: UInt64, length: UInt64, isStructured: Bool, context: UInt32? = nil) {
        self.command = command
        self.offset = offset
        self.length = length
        self.isStructured = isStructured
        self.context = context
    }

    /// Takes the header of the next chunk.
    package mutating func accept(_ chunk: ReplyChunk) -> Step {
        // Nothing tells whether a simple reply behind a chunk ends the answer.
        guard chunk.kind == .simple ? !hasBegun : isStructured else { return .malformed }
        hasBegun = true
        switch chunk.kind {
        case .simple:
            return acceptSimple(chunk.error)
        case .end:
            return .skip(count: 0)
        case .error:
            if error == 0 { error = chunk.error }
            return .skip(count: chunk.payloadLength)
        case .data:
            guard let position = cover(chunk) else { return refuse(chunk) }
            return .store(position: position, count: Int(chunk.length))
        case .hole:
            guard let position = cover(chunk) else { return refuse(chunk) }
            return .zero(position: position, count: Int(chunk.length))
        case .status:
            guard command == .blockStatus else { return refuse(chunk) }
            // The flags of another context mean something else.
            guard chunk.context == context else { return .skip(count: chunk.payloadLength) }
            guard !hasStatus else { return refuse(chunk) }
            hasStatus = true
            return .extents(count: chunk.payloadLength)
        }
    }

    /// The error of the whole answer after its last chunk, as on the wire; 0 if there is none. A read of which a part is missing
    /// has failed.
    package var outcome: UInt32 {
        if error == 0, command == .read, !coverage.isWhole(length) { return ErrorCode.inputOutput.rawValue }
        return error
    }

    private mutating func acceptSimple(_ value: UInt32) -> Step {
        error = value
        guard value == 0, command == .read else { return .skip(count: 0) }
        // With structured replies, nobody knows whether the data follows.
        guard !isStructured, coverage.add(0..<length) else { return .malformed }
        return .store(position: 0, count: Int(length))
    }

    /// - Returns: the position in the read's buffer; nil if the chunk is not of the command or repeats a part of it.
    private mutating func cover(_ chunk: ReplyChunk) -> Int? {
        guard command == .read, chunk.offset >= offset, chunk.offset - offset <= length,
            chunk.length <= length - (chunk.offset - offset)
        else { return nil }
        let start = chunk.offset - offset
        return coverage.add(start..<start + chunk.length) ? Int(start) : nil
    }

    /// The command fails; the stream goes on behind the chunk.
    private mutating func refuse(_ chunk: ReplyChunk) -> Step {
        error = ErrorCode.inputOutput.rawValue
        return .skip(count: chunk.payloadLength)
    }
}
