import Block
import BlockModel
import Hashing

/// Reads a whole image on several threads and computes the fingerprints of its blocks. Holes are skipped.
///
/// Other processes may write the image meanwhile: each fingerprint is that of the bytes the block had when it was read.
struct BlockScanner: Sendable {
    private let source: any ImageSource
    private let blockSize: Int
    private let options: BuildOptions

    /// - Parameter blockSize: A power of two from 512 to 65536.
    init(source: any ImageSource, blockSize: Int, options: BuildOptions) {
        precondition(BlockGeometry.isValid(blockSize: blockSize))
        self.source = source
        self.blockSize = blockSize
        self.options = options
    }

    /// Scans the image once, on `options.threads` threads and the source's extra readers.
    ///
    /// - Parameters:
    /// - initial: The value that each thread starts from.
    /// - progress: Called now and then, on any of the threads, with how far the scan has come.
    /// - visit: Called on any of the threads with that thread's value, a block number, and the fingerprints of
    ///   consecutive blocks from that one on. A call covers at most 1 MiB of disk. Each thread gets ascending blocks.
    ///   Blocks that are passed to no thread are zero; a zero block outside a hole may be passed as `.zero`.
    /// - Returns: The threads' values, in no particular order.
    /// - Throws: `FileError` or `NBDClientError` if the image can't be read or has become shorter; any error of `visit`;
    ///   `CancellationError` once `options.isWanted` returns false.
    func scan<Value: Sendable>(
        from initial: Value,
        progress: (@Sendable (BuildProgress) -> Void)? = nil,
        visit: @escaping @Sendable (inout Value, UInt64, [Fingerprint]) throws -> Void
    ) throws -> [Value] {
        let pace = options.bytesPerSecond.map { Pace(bytesPerSecond: $0) }
        let cursor = ScanCursor(source: source, blockSize: blockSize, pace: pace)
        let meter = progress.map { ProgressMeter(total: source.size, report: $0) }
        let values = try Workers.run(options.threads + source.extraReaders) {
            do {
                return try work(on: cursor, from: initial, reportingTo: meter, visit)
            } catch {
                cursor.stop()
                throw error
            }
        }
        meter?.reach(source.size)
        return values
    }

    private func work<Value>(
        on cursor: ScanCursor, from initial: Value, reportingTo meter: ProgressMeter?,
        _ visit: (inout Value, UInt64, [Fingerprint]) throws -> Void
    ) throws -> Value {
        var value = initial
        let buffer = ReadBuffer(count: min(source.preferredRead, Int(ScanCursor.segment)))
        let hasher = BlockHasher()
        var fingerprints: [Fingerprint] = []
        fingerprints.reserveCapacity(Int(ScanCursor.segment) / blockSize)
        while let segment = try cursor.next() {
            guard options.isWanted() else { throw CancellationError() }
            fingerprints.removeAll(keepingCapacity: true)
            try hash(segment.range, buffer, hasher, into: &fingerprints)
            source.release(segment.readAhead)
            try visit(&value, segment.range.lowerBound / UInt64(blockSize), fingerprints)
            meter?.reach(segment.range.upperBound)
        }
        return value
    }

    /// Copies the segment through the buffer in pieces. Mapping it is no faster: the threads share one address space,
    /// and that costs as much as copying.
    private func hash(
        _ segment: Range<UInt64>, _ buffer: borrowing ReadBuffer, _ hasher: BlockHasher,
        into fingerprints: inout [Fingerprint]
    ) throws {
        var start = segment.lowerBound
        while start < segment.upperBound {
            let end = min(segment.upperBound, start + UInt64(buffer.bytes.count))
            try read(start..<end, buffer, hasher, into: &fingerprints)
            start = end
        }
    }

    private func read(
        _ range: Range<UInt64>, _ buffer: borrowing ReadBuffer, _ hasher: BlockHasher,
        into fingerprints: inout [Fingerprint]
    ) throws {
        try source.read(into: buffer.prefix(range.count), at: range.lowerBound)
        let padded = (range.count + blockSize - 1) / blockSize * blockSize
        for place in range.count..<padded { buffer.bytes[place] = 0 }
        for start in stride(from: 0, to: padded, by: blockSize) {
            fingerprints.append(hasher.fingerprint(.init(rebasing: buffer.bytes[start..<start + blockSize])))
        }
    }
}
