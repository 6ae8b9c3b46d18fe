import Block

/// Reads a whole image on several threads and computes the fingerprints of its blocks. Holes are skipped.
///
/// Others may write the image meanwhile: each fingerprint is that of the bytes the block had when it was
/// read.
public struct BlockScanner: Sendable {
    private let image: RawImage
    private let blockSize: Int
    private let threads: Int

    /// Prepares a scan.
    /// - Parameters:
    ///   - blockSize: A power of two from 512 to 65536.
    ///   - threads: At least 1.
    /// - Throws: `IndexError.blockSize`.
    public init(image: RawImage, blockSize: Int, threads: Int) throws {
        guard BlockGeometry.isValid(blockSize: blockSize) else { throw IndexError.blockSize(blockSize) }
        self.image = image
        self.blockSize = blockSize
        self.threads = max(1, threads)
    }

    /// Scans the image once.
    ///
    /// - Parameters:
    ///   - initial: What each thread starts from.
    ///   - progress: Told now and then, on any of the threads, how far the scan is.
    ///   - visit: Called on any of the threads with that thread's value, a block number and the fingerprints
    ///     of that block and the ones after it, at most 1 MiB of disk. A thread gets ascending blocks. What
    ///     is never passed to any thread is zero; zero blocks that are not holes are passed as `.zero`.
    /// - Returns: The threads' values, in no particular order.
    /// - Throws: `FileError` where the image can't be read, or has become shorter.
    public func scan<Value: Sendable>(
        from initial: Value,
        progress: (@Sendable (BuildProgress) -> Void)? = nil,
        visit: @escaping @Sendable (inout Value, UInt64, [Fingerprint]) -> Void
    ) throws -> [Value] {
        let cursor = ScanCursor(image: image, blockSize: blockSize)
        let meter = progress.map { ProgressMeter(total: image.size, report: $0) }
        let values = try Workers.run(threads) {
            do {
                return try work(cursor, initial, meter, visit)
            } catch {
                cursor.stop()
                throw error
            }
        }
        meter?.reach(image.size)
        return values
    }

    private func work<Value>(
        _ cursor: ScanCursor, _ initial: Value, _ meter: ProgressMeter?,
        _ visit: (inout Value, UInt64, [Fingerprint]) -> Void
    ) throws -> Value {
        var value = initial
        let buffer = ReadBuffer(count: Int(ScanCursor.segment))
        let hasher = BlockHasher()
        var fingerprints: [Fingerprint] = []
        fingerprints.reserveCapacity(buffer.bytes.count / blockSize)
        while let segment = try cursor.next() {
            fingerprints.removeAll(keepingCapacity: true)
            try hash(segment, buffer, hasher, into: &fingerprints)
            visit(&value, segment.lowerBound / UInt64(blockSize), fingerprints)
            meter?.reach(segment.upperBound)
        }
        return value
    }

    private func hash(
        _ segment: Range<UInt64>, _ buffer: borrowing ReadBuffer, _ hasher: BlockHasher,
        into fingerprints: inout [Fingerprint]
    ) throws {
        try image.read(into: buffer.prefix(segment.count), at: segment.lowerBound)
        let padded = (segment.count + blockSize - 1) / blockSize * blockSize
        for place in segment.count..<padded { buffer.bytes[place] = 0 }
        for start in stride(from: 0, to: padded, by: blockSize) {
            fingerprints.append(hasher.fingerprint(.init(rebasing: buffer.bytes[start..<start + blockSize])))
        }
    }
}
