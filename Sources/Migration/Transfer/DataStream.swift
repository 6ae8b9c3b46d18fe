import MigrationCore
import MigrationProtocol
import NIOCore

/// The bytes of blocks on their way to one destination, in one stream of zstd's. What is sent ahead of time may be compressed by
/// several threads, which are late with it; what a guest waits for is not, as they let others go first.
///
/// `@unchecked Sendable`: used by one job at a time, whichever thread that runs on.
final class DataStream: @unchecked Sendable {
    /// A guest waits for a few MiB at most.
    private static let urgentWindowLog: Int32 = 22
    /// Few blocks may be named in each of many messages before threads have enough to begin with.
    private static let mostNamed = DataSegment.mostAwaited / 2

    private let bulk: StreamCompressor
    private let urgent: StreamCompressor
    private var isUrgent = false
    /// How often something was added since all of it was in a piece.
    private var named = 0

    /// - Parameters:
    ///   - level: to begin with.
    ///   - windowLog: how far back repeats are looked for, as a power of two.
    ///   - workers: threads for what is sent ahead of time; 0 for none.
    /// - Throws: `ZstdError`.
    init(level: Int32, windowLog: Int32, workers: Int) throws {
        bulk = try StreamCompressor(level: level, windowLog: windowLog, workers: workers)
        urgent = try StreamCompressor(level: level, windowLog: Self.urgentWindowLog)
    }

    /// Whether a piece may hold less than what was added, and a later one the rest.
    var isLate: Bool { bulk.isParallel }

    /// What the threads have done since this was asked before; nil where there are none.
    func takeWork() -> CompressionPace.Work? { bulk.takeWork() }

    /// What was added and is in no piece yet, more or less. Bytes.
    var lateBytes: UInt64 { bulk.lateBytes }

    /// Adds `bytes`.
    /// - Parameter isUrgent: somebody waits for them: all of them are in the piece then.
    /// - Returns: the next piece of the stream.
    /// - Throws: `ZstdError`.
    func compress(_ bytes: UnsafeRawBufferPointer, level: Int32, isUrgent: Bool) throws -> ByteBuffer {
        let isSwitched = isUrgent != self.isUrgent
        var pieces = isSwitched ? [try (isUrgent ? bulk : urgent).end()] : []
        self.isUrgent = isUrgent
        pieces.append(try (isUrgent ? urgent : bulk).compress(bytes, level: level))
        named = isUrgent || !isLate ? 0 : named + 1
        if named >= Self.mostNamed { pieces.append(try flush()) }
        return pieces.count == 1 ? pieces[0] : ByteBuffer(bytes: pieces.map(\.readableBytesView).joined())
    }

    /// The piece with all that is in none yet.
    /// - Throws: `ZstdError`.
    func flush() throws -> ByteBuffer {
        named = 0
        return try bulk.flush()
    }
}
