import Hashing
import NIOConcurrencyHelpers

/// Makes a catalogue from the fingerprints of disks.
///
/// Memory per thread: 16 MiB of collected entries, and two copies of the partition being sorted. A partition holds
/// about 1/256 of all entries of 16 bytes, or 1/4096 when there are more than 2^28.
struct CatalogueBuilder {
    /// Blocks that a thread reads in one call.
    private static let piece: UInt64 = 1 << 14

    /// The place of the scratch file through which entries are sorted.
    let directory: IndexDirectory
    let blockSize: Int
    /// At least one; an entry's table is a position here.
    let sources: [any FingerprintSource]
    let threads: Int
    /// Whether only fingerprints that are samples get an entry.
    var isSampled = false
    /// Asked now and then, on any thread; once it returns false, the work ends with `CancellationError`.
    var isWanted: @Sendable () -> Bool = { true }

    /// Writes a whole catalogue file.
    /// - Parameter tables: The keys of the sources, in their order.
    /// - Returns: The number of entries written.
    func write(to file: TemporaryFile, listing tables: [TableKey]) throws -> UInt64 {
        var (header, starts) = try writeEntries { try file.write($0, at: $1) }
        try file.setSize(header.fileSize)
        try tables.flatMap(\.bytes).withUnsafeBytes {
            header.tablesDigest = BlockHasher().digest($0)
            try file.write($0, at: header.tablesRange.lowerBound)
        }
        try starts.withUnsafeBytes {
            header.startsDigest = BlockHasher().digest($0)
            try file.write($0, at: header.startsRange.lowerBound)
        }
        file.beginWritingOut()
        header.entriesDigest = try TableDigest.compute(
            try file.reopened(), header.entriesRange, threads: 2, while: isWanted)
        try header.encode().withUnsafeBytes { try file.write($0, at: 0) }
        return header.entryCount
    }

    /// Writes only the entries, to their places in a catalogue file.
    /// - Returns: The header without digests, and where each bucket starts.
    func writeEntries(to write: @escaping CatalogueWriter.Output) throws -> (CatalogueHeader, starts: [UInt32]) {
        let bits = EntryPartitioner.bits(for: sources.reduce(0) { $0 + $1.dataBlocksLimit })
        let partitioners = try collect(bits)
        let header = CatalogueHeader(
            blockSize: blockSize, tableCount: sources.count, maximumBlocks: sources.map(\.blockCount).max()!,
            expected: partitioners.reduce(0) { $0 + $1.count })
        let writer = CatalogueWriter(header, to: write)
        let next = NIOLockedValueBox(0)
        _ = try Workers.run(threads) {
            var sorter = PartitionSorter(of: partitioners)
            while true {
                let partition = next.withLockedValue { next in
                    defer { next += 1 }
                    return next
                }
                guard partition < 1 << bits else { return }
                // A failed thread never takes its turn, so the others must stop waiting for it.
                let entries: UnsafeBufferPointer<CatalogueEntry>
                do {
                    guard isWanted() else { throw CancellationError() }
                    entries = Self.distinct(try sorter.sort(partition))
                } catch {
                    writer.giveUp()
                    throw error
                }
                try writer.append(entries, turn: partition, through: sorter.spare)
            }
        }
        return writer.finish()
    }

    // MARK: Collecting

    private func collect(_ bits: Int) throws -> [EntryPartitioner] {
        let scratch = try ScratchFile(in: directory)
        let shares = NIOLockedValueBox((source: 0, block: UInt64(0)))
        return try Workers.run(threads) {
            var partitioner = EntryPartitioner(scratch: scratch, bits: bits)
            let buffer = ReadBuffer(count: Int(Self.piece) * Fingerprint.byteCount)
            while let (source, blocks) = try shares.withLockedValue({ try next(&$0) }) {
                guard isWanted() else { throw CancellationError() }
                try read(source, blocks, buffer, into: &partitioner)
            }
            return partitioner
        }
    }

    /// Takes the next blocks that may be other than zero; nil at the end.
    private func next(_ state: inout (source: Int, block: UInt64)) throws -> (Int, Range<UInt64>)? {
        while state.source < sources.count {
            let source = sources[state.source]
            if state.block < source.blockCount, let data = try source.nextData(from: state.block) {
                state.block = min(data.upperBound, data.lowerBound + Self.piece)
                return (state.source, data.lowerBound..<state.block)
            }
            state = (state.source + 1, 0)
        }
        return nil
    }

    private func read(
        _ index: Int, _ blocks: Range<UInt64>, _ buffer: borrowing ReadBuffer, into partitioner: inout EntryPartitioner
    ) throws {
        let bytes = buffer.prefix(blocks.count * Fingerprint.byteCount)
        try sources[index].read(blocks, into: bytes)
        var earlier: UInt64?
        for place in 0..<blocks.count {
            let start = place * Fingerprint.byteCount
            let fingerprint = Fingerprint(bytes: .init(rebasing: bytes[start..<start + Fingerprint.byteCount]))
            // Skip repeats, or a disk full of one pattern would fill the scratch file.
            if fingerprint == .zero || fingerprint.high == earlier { continue }
            if isSampled, !Sampling.isSample(fingerprint.high) { continue }
            earlier = fingerprint.high
            try partitioner.append(
                CatalogueEntry(high: fingerprint.high, table: index, block: blocks.lowerBound + UInt64(place)))
        }
    }

    // MARK: Sorting

    /// Keeps of each fingerprint in each table only the lowest block.
    private static func distinct(
        _ sorted: UnsafeMutableBufferPointer<CatalogueEntry>
    ) -> UnsafeBufferPointer<CatalogueEntry> {
        var kept = 0
        for index in sorted.indices {
            let entry = sorted[index]
            if kept > 0, sorted[kept - 1].high == entry.high, sorted[kept - 1].table == entry.table { continue }
            sorted[kept] = entry
            kept += 1
        }
        return UnsafeBufferPointer(rebasing: sorted[..<kept])
    }
}
