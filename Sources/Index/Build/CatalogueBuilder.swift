import Block
import Glibc
import Hashing
import NIOConcurrencyHelpers

/// Makes a catalogue from the fingerprints of tables.
///
/// Memory per thread: 16 MiB of collected entries, and two copies of the partition being sorted. A partition holds
/// about 1/256 of all entries of 16 bytes, or 1/4096 when there are more than 2^28.
struct CatalogueBuilder {
    /// One table whose fingerprints the catalogue lists.
    struct Member: Sendable {
        let key: TableKey
        let file: IndexFile
        let header: TableHeader

        init(key: TableKey, file: IndexFile, header: TableHeader) {
            self.key = key
            self.file = file
            self.header = header
        }

        init(_ table: Table) {
            self.init(key: table.key, file: table.file, header: table.header)
        }
    }

    /// Blocks that a thread reads in one call.
    private static let piece: UInt64 = 1 << 14

    let directory: IndexDirectory
    let blockSize: Int
    let members: [Member]
    let threads: Int

    /// - Returns: The number of entries written.
    func write(to file: TemporaryFile) throws -> UInt64 {
        let nonZero = members.reduce(0) { $0 + $1.header.blockCount - $1.header.zeroBlocks }
        let bits = EntryPartitioner.bits(for: nonZero)
        let partitioners = try collect(bits)
        var header = CatalogueHeader(
            blockSize: blockSize, tableCount: members.count,
            maximumBlocks: members.map(\.header.blockCount).max()!, expected: partitioners.reduce(0) { $0 + $1.count })
        let writer = CatalogueWriter(header, file)
        let next = NIOLockedValueBox(0)
        _ = try Workers.run(threads) {
            while true {
                let partition = next.withLockedValue { next in
                    defer { next += 1 }
                    return next
                }
                guard partition < 1 << bits else { return }
                // A failed thread never takes its turn, so the others must stop waiting for it.
                let sorted: [CatalogueEntry]
                do { sorted = try Self.sort(partition, of: partitioners) } catch {
                    writer.giveUp()
                    throw error
                }
                try writer.append(sorted, turn: partition)
            }
        }
        let list = members.flatMap(\.key.bytes)
        header = try writer.finish(tables: list)
        return header.entryCount
    }

    // MARK: Collecting

    private func collect(_ bits: Int) throws -> [EntryPartitioner] {
        let scratch = try ScratchFile(in: directory)
        let shares = NIOLockedValueBox((member: 0, block: UInt64(0)))
        return try Workers.run(threads) {
            var partitioner = EntryPartitioner(scratch: scratch, bits: bits)
            let buffer = ReadBuffer(count: Int(Self.piece) * Fingerprint.byteCount)
            while let (member, blocks) = shares.withLockedValue({ next(&$0) }) {
                try read(member, blocks, buffer, into: &partitioner)
            }
            return partitioner
        }
    }

    /// Takes the next blocks that may be other than zero; nil at the end.
    private func next(_ state: inout (member: Int, block: UInt64)) -> (Int, Range<UInt64>)? {
        while state.member < members.count {
            let member = members[state.member]
            let range = member.header.fingerprintsRange
            let offset = range.lowerBound + state.block * UInt64(Fingerprint.byteCount)
            if let data = member.file.nextData(from: offset), data.lowerBound < range.upperBound {
                let first = max(state.block, (data.lowerBound - range.lowerBound) / UInt64(Fingerprint.byteCount))
                let last = (min(data.upperBound, range.upperBound) - range.lowerBound + 15) / 16
                let end = min(last, first + Self.piece)
                if first < end {
                    state.block = end
                    return (state.member, first..<end)
                }
            }
            state = (state.member + 1, 0)
        }
        return nil
    }

    private func read(
        _ index: Int, _ blocks: Range<UInt64>, _ buffer: borrowing ReadBuffer, into partitioner: inout EntryPartitioner
    ) throws {
        let member = members[index]
        let bytes = buffer.prefix(blocks.count * Fingerprint.byteCount)
        let offset = member.header.fingerprintsRange.lowerBound + blocks.lowerBound * UInt64(Fingerprint.byteCount)
        guard member.file.read(into: bytes, at: offset) else { throw FileError("read", member.file.path, code: EIO) }
        var earlier: UInt64?
        for place in 0..<blocks.count {
            let start = place * Fingerprint.byteCount
            let fingerprint = Fingerprint(bytes: .init(rebasing: bytes[start..<start + Fingerprint.byteCount]))
            // Skip repeats, or a disk full of one pattern would fill the scratch file.
            if fingerprint == .zero || fingerprint.high == earlier { continue }
            earlier = fingerprint.high
            try partitioner.append(
                CatalogueEntry(high: fingerprint.high, table: index, block: blocks.lowerBound + UInt64(place)))
        }
    }

    // MARK: Sorting

    /// - Returns: The entries of a partition, ascending; of each fingerprint in each table only the lowest block.
    private static func sort(_ partition: Int, of partitioners: [EntryPartitioner]) throws -> [CatalogueEntry] {
        var sorted = try EntryPartitioner.sorted(partition: partition, of: partitioners)
        var kept = 0
        for index in sorted.indices {
            let entry = sorted[index]
            if kept > 0, sorted[kept - 1].high == entry.high, sorted[kept - 1].table == entry.table { continue }
            sorted[kept] = entry
            kept += 1
        }
        sorted.removeLast(sorted.count - kept)
        return sorted
    }
}
