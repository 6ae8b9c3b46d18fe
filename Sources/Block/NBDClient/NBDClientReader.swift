import Glibc
import NBD
import Ring

/// Takes the bytes of a server's answers, in any pieces, and brings them to their places.
///
/// Nothing that a server sends leads outside the buffer of the command that it names.
final class NBDClientReader {
    /// Bytes of the header before a read's data in a structured reply.
    private static let dataHeader = 28

    private let commands: NBDClientCommands
    /// The meaning of the next bytes.
    private(set) var awaited = Awaited.header
    /// The start of a header or extent whose rest has not come.
    private let partial = UnsafeMutableRawBufferPointer.allocate(byteCount: ReplyChunk.longestHeader, alignment: 8)
    private var partialCount = 0

    /// The meanings of the next bytes.
    enum Awaited {
        case header
        /// `left` bytes for `to`.
        case payload(UnsafeMutablePointer<NBDClientCommand>, to: UnsafeMutableRawPointer, left: Int, isLast: Bool)
        case extents(UnsafeMutablePointer<NBDClientCommand>, left: Int, isLast: Bool)
        case skipped(UnsafeMutablePointer<NBDClientCommand>, left: Int, isLast: Bool)
    }

    /// Creates a reader before the first answer to one of `commands`.
    init(_ commands: NBDClientCommands) { self.commands = commands }

    deinit { partial.deallocate() }

    /// Takes received bytes.
    /// - Parameters:
    ///   - sending: the command whose last bytes the ring may have sent without having told so; nil if there is none.
    ///   - ended: called for each command whose answer has ended, with its error set.
    /// - Returns: false if the server does not keep to the protocol.
    func consume(
        _ bytes: UnsafeRawBufferPointer, sending: UnsafeMutablePointer<NBDClientCommand>?,
        ended: (UnsafeMutablePointer<NBDClientCommand>) -> Void
    ) -> Bool {
        var rest = bytes
        while !rest.isEmpty {
            switch awaited {
            case .header:
                guard let chunk = takeHeader(&rest) else { return false }
                if let chunk, !begin(chunk, sending, ended) { return false }
            case .payload(let command, let to, let left, let isLast):
                let count = min(left, rest.count)
                to.copyMemory(from: rest.baseAddress!, byteCount: count)
                rest = UnsafeRawBufferPointer(rebasing: rest.dropFirst(count))
                awaited = .payload(command, to: to + count, left: left - count, isLast: isLast)
                if count == left { endChunk(command, isLast, ended) }
            case .extents(let command, let left, let isLast):
                guard let unit = takePartial(ReplyChunk.extentLength, &rest) else { return true }
                command.pointee.addExtent(
                    length: UInt64(UInt32(bigEndian: unit.loadUnaligned(as: UInt32.self))),
                    state: UInt64(UInt32(bigEndian: unit.loadUnaligned(fromByteOffset: 4, as: UInt32.self))))
                awaited = .extents(command, left: left - ReplyChunk.extentLength, isLast: isLast)
                if left == ReplyChunk.extentLength { endChunk(command, isLast, ended) }
            case .skipped(let command, let left, let isLast):
                let count = min(left, rest.count)
                rest = UnsafeRawBufferPointer(rebasing: rest.dropFirst(count))
                awaited = .skipped(command, left: left - count, isLast: isLast)
                if count == left { endChunk(command, isLast, ended) }
            }
        }
        return true
    }

    /// The most bytes to receive next into a loop's buffer. Bytes of a large payload would have to be copied from there. Small
    /// chunks must not cost a receive for each header and each payload.
    /// - Parameter hasOnlyLargeReads: whether all commands in flight are reads of at least one such buffer.
    func receiveCount(hasOnlyLargeReads: Bool) -> Int {
        if hasOnlyLargeReads, case .header = awaited { return Self.dataHeader }
        return ReceiveBuffers.length
    }

    /// Records that `count` bytes of the awaited payload have come to their place by themselves.
    func didReceive(_ count: Int, ended: (UnsafeMutablePointer<NBDClientCommand>) -> Void) {
        guard case .payload(let command, let to, let left, let isLast) = awaited else { return }
        awaited = .payload(command, to: to + count, left: left - count, isLast: isLast)
        if count == left { endChunk(command, isLast, ended) }
    }

    /// Takes a header, and keeps the bytes of an incomplete one.
    /// - Returns: nil if the bytes are no header; otherwise the chunk, or nil if its rest has not come.
    private func takeHeader(_ rest: inout UnsafeRawBufferPointer) -> ReplyChunk?? {
        let kept = partialCount
        let source: UnsafeRawBufferPointer
        if kept > 0 {
            let count = min(partial.count - kept, rest.count)
            (partial.baseAddress! + kept).copyMemory(from: rest.baseAddress!, byteCount: count)
            source = UnsafeRawBufferPointer(rebasing: partial[..<(kept + count)])
        } else {
            source = rest
        }
        switch ReplyChunk.parse(source) {
        case .malformed:
            return nil
        case .needsMore:
            if kept == 0 { partial.baseAddress!.copyMemory(from: rest.baseAddress!, byteCount: rest.count) }
            partialCount = kept + rest.count
            rest = UnsafeRawBufferPointer(start: nil, count: 0)
            return .some(nil)
        case .chunk(let chunk):
            partialCount = 0
            rest = UnsafeRawBufferPointer(rebasing: rest.dropFirst(chunk.headerLength - kept))
            return .some(chunk)
        }
    }

    /// Takes `count` bytes, and keeps fewer.
    /// - Returns: their address, valid until the next call; nil if the rest has not come.
    private func takePartial(_ count: Int, _ rest: inout UnsafeRawBufferPointer) -> UnsafeRawPointer? {
        let taken = min(count - partialCount, rest.count)
        (partial.baseAddress! + partialCount).copyMemory(from: rest.baseAddress!, byteCount: taken)
        rest = UnsafeRawBufferPointer(rebasing: rest.dropFirst(taken))
        partialCount += taken
        guard partialCount == count else { return nil }
        partialCount = 0
        return UnsafeRawPointer(partial.baseAddress!)
    }

    /// Goes to what follows a chunk's header.
    /// - Returns: false if the server does not keep to the protocol.
    private func begin(
        _ chunk: ReplyChunk, _ sending: UnsafeMutablePointer<NBDClientCommand>?,
        _ ended: (UnsafeMutablePointer<NBDClientCommand>) -> Void
    ) -> Bool {
        guard let command = commands.find(cookie: chunk.cookie) else { return false }
        switch command.pointee.state {
        case .sent: break
        // The ring may have sent the last bytes, and tell so after the answer.
        case .queued where command == sending: break
        case .queued, .answeredEarly, .idle: return false
        }
        switch command.pointee.answer!.accept(chunk) {
        case .malformed:
            return false
        case .store(let position, let count):
            awaited = .payload(command, to: command.pointee.room! + position, left: count, isLast: chunk.isLast)
        case .zero(let position, let count):
            memset(command.pointee.room! + position, 0, count)
            endChunk(command, chunk.isLast, ended)
        case .extents(let count):
            awaited = .extents(command, left: count, isLast: chunk.isLast)
        case .skip(let count):
            awaited = .skipped(command, left: count, isLast: chunk.isLast)
            if count == 0 { endChunk(command, chunk.isLast, ended) }
        }
        return true
    }

    private func endChunk(
        _ command: UnsafeMutablePointer<NBDClientCommand>, _ isLast: Bool,
        _ ended: (UnsafeMutablePointer<NBDClientCommand>) -> Void
    ) {
        awaited = .header
        guard isLast else { return }
        // The values on the wire are those of Linux. Protocol text: one that is unknown means EINVAL.
        let outcome = command.pointee.answer!.outcome
        command.pointee.error = outcome == 0 ? 0 : ErrorCode(rawValue: outcome).map { CInt($0.rawValue) } ?? EINVAL
        ended(command)
    }
}
