import MigrationCore
import MigrationProtocol
import NIOCore

/// The bytes of blocks on their way to one destination, as one zstd stream. Worker threads compress blocks that are
/// sent ahead of time, which delays them. Urgent blocks are compressed at once, because the workers run at a low
/// priority.
///
/// `@unchecked Sendable`: used by one job at a time, whichever thread that runs on.
final class DataStream: @unchecked Sendable {
    /// The level for urgent blocks: a guest waits for a few MiB at most.
    private static let urgentWindowLog: Int32 = 22
    /// Small messages after which the stream is flushed: worker threads may otherwise wait for more input for long.
    private static let mostNamed = DataSegment.mostAwaited / 2

    private let bulk: StreamCompressor
    private let urgent: StreamCompressor
    private var isUrgent = false
    /// Additions since the last piece that held everything.
    private var named = 0

    /// - Parameters:
    ///   - level: to begin with.
    ///   - windowLog: the distance within which repeats are found, as a power of two.
    ///   - workers: threads for blocks that are not urgent; 0 for none.
    /// - Throws: `ZstdError`.
    init(level: Int32, windowLog: Int32, workers: Int) throws {
        bulk = try StreamCompressor(level: level, windowLog: windowLog, workers: workers)
        urgent = try StreamCompressor(level: level, windowLog: Self.urgentWindowLog)
    }

    /// Lets blocks that are not urgent refer to `prefix`, as if its bytes stood before them.
    func use(_ prefix: StreamPrefix) { bulk.use(prefix) }

    /// Whether a piece may hold less than what was added, and a later one the rest.
    var isLate: Bool { bulk.isParallel }

    /// The work of the threads since the last call; nil if there are none.
    func consumeWork() -> CompressionPace.Work? { bulk.consumeWork() }

    /// Bytes that were added and are in no piece yet, approximately.
    var lateBytes: UInt64 { bulk.lateBytes }

    /// Adds `bytes`.
    /// - Parameters:
    ///   - isUrgent: a client waits for them: the piece then holds all of them.
    ///   - inParallel: whether worker threads compress, if there are any and it is not urgent.
    /// - Returns: the next piece of the stream.
    /// - Throws: `ZstdError`.
    func compress(
        _ bytes: UnsafeRawBufferPointer, level: Int32, isUrgent: Bool, inParallel: Bool = true
    ) throws -> ByteBuffer {
        let isSwitched = isUrgent != self.isUrgent
        var pieces = isSwitched ? [try (isUrgent ? bulk : urgent).end()] : []
        self.isUrgent = isUrgent
        pieces.append(try (isUrgent ? urgent : bulk).compress(bytes, level: level, inParallel: inParallel))
        named = isUrgent || !isLate ? 0 : named + 1
        if named >= Self.mostNamed { pieces.append(try flush()) }
        return pieces.count == 1 ? pieces[0] : ByteBuffer(bytes: pieces.map(\.readableBytesView).joined())
    }

    /// The piece with all bytes that are in none yet.
    /// - Throws: `ZstdError`.
    func flush() throws -> ByteBuffer {
        named = 0
        return try bulk.flush()
    }
}
