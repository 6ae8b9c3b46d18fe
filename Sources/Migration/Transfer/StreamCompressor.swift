import CZstd
import Dispatch
import MigrationCore
import NIOCore

/// One long zstd stream, cut into pieces.
///
/// `@unchecked Sendable`: used by one job at a time, whichever thread that runs on.
final class StreamCompressor: @unchecked Sendable {
    /// Bytes of one worker's job. Smaller jobs cost more on the link; larger ones delay the end of a round.
    private static let jobBytes: Int32 = 4 << 20
    /// The overlap of a job with the bytes before it, beside long repeats: half of zstd's default.
    private static let overlapLog: Int32 = 8

    private let context: OpaquePointer
    /// Threads of the library that may compress. They inherit the priority of the thread that starts them.
    private let workers: Int
    /// Whether they compress the open frame, or the next one.
    private(set) var isParallel: Bool
    private var level: Int32
    /// Whether a frame has begun.
    private var isOpen = false
    /// The bytes to which each frame may refer; nil for none.
    private var prefix: StreamPrefix?
    /// Whether the open frame is to end before more is added.
    private var endsFrame = false
    /// Bytes that were added to the frame.
    private var added: UInt64 = 0
    /// The threads at the last query: the bytes of the frame that they had done, and the number of threads at work.
    private var seen: (consumed: UInt64, busy: Double, at: ContinuousClock.Instant)?
    private var work = CompressionPace.Work()
    /// Bytes that were added and are in no piece yet, approximately.
    private(set) var lateBytes: UInt64 = 0
    /// Room for most pieces: the largest possible one would take much more.
    private var room = ByteBuffer()

    /// - Parameters:
    ///   - windowLog: the distance within which repeats are found, as a power of two.
    ///   - workers: threads that compress; 0 to compress on the calling thread.
    /// - Throws: `ZstdError`.
    init(level: Int32, windowLog: Int32 = ZstdParameters.windowLog, workers: Int = 0) throws {
        guard let context = ZSTD_createCCtx() else { throw ZstdError(reason: "out of memory") }
        self.context = context
        self.level = level
        // A library that was built without threads compresses on the calling thread.
        let isRefused = ZSTD_isError(ZSTD_CCtx_setParameter(context, ZSTD_c_nbWorkers, Int32(workers))) != 0
        self.workers = isRefused ? 0 : workers
        isParallel = self.workers > 0
        try set(ZSTD_c_compressionLevel, level)
        try set(ZSTD_c_windowLog, windowLog)
        try set(ZSTD_c_enableLongDistanceMatching, windowLog == ZstdParameters.windowLog ? 1 : 0)
        try setWorkers()
    }

    deinit {
        guard workers > 0 else {
            ZSTD_freeCCtx(context)
            return
        }
        // Freeing waits for the jobs of the threads, which may take long on a busy machine.
        nonisolated(unsafe) let context = context
        DispatchQueue.global(qos: .background).async { ZSTD_freeCCtx(context) }
    }

    /// Adds `bytes` to the stream. Another level than before begins a new frame: zstd has one level a frame, and a frame does
    /// not refer to earlier ones. So does another number of threads.
    /// - Parameter inParallel: whether threads compress, if there are any.
    /// - Returns: the next piece of the stream. Without workers it holds all that was added; with them the part that is ready.
    /// - Throws: `ZstdError`.
    func compress(
        _ bytes: UnsafeRawBufferPointer, level: Int32, inParallel: Bool = true
    ) throws -> ByteBuffer {
        room.clear(minimumCapacity: ZSTD_compressBound(bytes.count) + 64)
        // A prefix counts as long as the frame is no longer than its window.
        let isSpent = prefix != nil && added + UInt64(bytes.count) > 1 << UInt64(ZstdParameters.prefixWindowLog)
        let inParallel = inParallel && workers > 0
        if isOpen, level != self.level || inParallel != isParallel || endsFrame || isSpent {
            try write(Self.nothing, ZSTD_e_end)
            isOpen = false
            seen = nil
        }
        if !isOpen { try beginFrame(level, inParallel) }
        observe()
        added += UInt64(bytes.count)
        try write(bytes, isParallel ? ZSTD_e_continue : ZSTD_e_flush)
        observe()
        return piece
    }

    /// Lets the next frame and all later ones refer to `prefix`, as if it stood before each of them.
    func use(_ prefix: StreamPrefix) {
        self.prefix = prefix
        endsFrame = true
    }

    private func beginFrame(_ level: Int32, _ inParallel: Bool) throws {
        if inParallel != isParallel {
            isParallel = inParallel
            try setWorkers()
        }
        if level != self.level { try set(ZSTD_c_compressionLevel, level) }
        self.level = level
        if let prefix, level >= ZstdParameters.lowestPrefixLevel {
            try set(ZSTD_c_windowLog, ZstdParameters.prefixWindowLog)
            try ZstdParameters.check(ZSTD_CCtx_refPrefix(context, prefix.bytes.baseAddress, prefix.bytes.count))
        }
        endsFrame = false
        added = 0
        isOpen = true
    }

    private func setWorkers() throws {
        guard workers > 0 else { return }
        try set(ZSTD_c_nbWorkers, isParallel ? Int32(workers) : 0)
        guard isParallel else {
            lateBytes = 0
            return
        }
        try set(ZSTD_c_jobSize, Self.jobBytes)
        try set(ZSTD_c_overlapLog, Self.overlapLog)
    }

    /// The piece of the stream with all bytes that are in none yet; empty if there are none.
    /// - Throws: `ZstdError`.
    func flush() throws -> ByteBuffer { try close(ZSTD_e_flush) }

    /// As `flush`, and ends the frame: the next piece may begin another stream.
    /// - Throws: `ZstdError`.
    func end() throws -> ByteBuffer {
        defer {
            isOpen = false
            seen = nil
        }
        return try close(ZSTD_e_end)
    }

    /// The bytes that the threads have compressed since the last call, and the time with all threads at work. nil if
    /// there are none. Idle times are left out as far as they are seen.
    func consumeWork() -> CompressionPace.Work? {
        guard isParallel else { return nil }
        defer { work = CompressionPace.Work() }
        return work
    }

    private func observe() {
        guard isParallel, isOpen else { return }
        let progress = ZSTD_getFrameProgression(context)
        // A job that waits for a thread counts as one, too.
        let busy = min(1, Double(progress.nbActiveWorkers) / Double(workers))
        let now = ContinuousClock.now
        if let seen, seen.busy > 0, busy > 0, progress.consumed >= seen.consumed {
            let seconds = seen.at.duration(to: now).inSeconds * (seen.busy + busy) / 2
            work.bytes += progress.consumed - seen.consumed
            work.compressing += seconds
            work.elapsed += seconds
        }
        seen = (progress.consumed, busy, now)
        let done = Double(progress.consumed) * Double(progress.flushed) / Double(max(1, progress.produced))
        lateBytes = progress.ingested - min(progress.ingested, UInt64(done))
    }

    private static var nothing: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: nil, count: 0) }

    private var piece: ByteBuffer { ByteBuffer(bytes: room.readableBytesView) }

    private func close(_ directive: ZSTD_EndDirective) throws -> ByteBuffer {
        room.clear()
        if isOpen { try write(Self.nothing, directive) }
        lateBytes = 0
        // The rest of all threads takes more room than later pieces do.
        defer { room = ByteBuffer() }
        return piece
    }

    private func set(_ parameter: ZSTD_cParameter, _ value: Int32) throws {
        try ZstdParameters.check(ZSTD_CCtx_setParameter(context, parameter, value))
    }

    private func write(_ bytes: UnsafeRawBufferPointer, _ directive: ZSTD_EndDirective) throws {
        var input = ZSTD_inBuffer(src: bytes.baseAddress, size: bytes.count, pos: 0)
        var left = 1
        // Bytes that are left in the library matter only if all of them are wanted.
        while directive == ZSTD_e_continue ? input.pos < input.size : left > 0 {
            try room.writeWithUnsafeMutableBytes(minimumWritableBytes: 1 << 16) { out in
                var output = ZSTD_outBuffer(dst: out.baseAddress, size: out.count, pos: 0)
                left = try ZstdParameters.check(ZSTD_compressStream2(context, &output, &input, directive))
                return output.pos
            }
        }
    }
}
