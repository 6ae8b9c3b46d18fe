import Block

/// Makes the entries of one image's table.
///
/// It holds them in memory until the table is written: at most 24 bytes for each block that is neither zero
/// nor the repetition of the one before, and room for arrays to grow.
struct TableBuilder {
    let image: RawImage
    let blockSize: Int
    let threads: Int

    struct Output {
        /// Ascending over all parts, no two of one fingerprint, each with the lowest block that has it.
        let parts: [[TableEntry]]
        let zeroBlocks: UInt64
        let bytesRead: UInt64
    }

    private struct Collection: Sendable {
        var entries = Partitions<TableEntry>()
        var dataBlocks: UInt64 = 0
        var visited: UInt64 = 0
    }

    func build(progress: (@Sendable (BuildProgress) -> Void)?) throws -> Output {
        let scanner = try BlockScanner(image: image, blockSize: blockSize, threads: threads)
        let collections = try scanner.scan(from: Collection(), progress: progress) {
            collection, first, fingerprints in
            Self.collect(&collection, first, fingerprints)
        }
        let dataBlocks = collections.reduce(0) { $0 + $1.dataBlocks }
        let visited = collections.reduce(0) { $0 + $1.visited }
        let blocks = TableHeader.blockCount(image.size, blockSize)
        let parts = try PartitionSorter(collections.map(\.entries)).run(
            threads: threads, finish: Self.distinct)
        return Output(
            parts: parts, zeroBlocks: blocks - dataBlocks,
            bytesRead: min(visited * UInt64(blockSize), image.size))
    }

    private static func collect(
        _ collection: inout Collection, _ first: UInt64, _ fingerprints: [Fingerprint]
    ) {
        collection.visited += UInt64(fingerprints.count)
        for (index, fingerprint) in fingerprints.enumerated() where fingerprint != .zero {
            collection.dataBlocks += 1
            // A disk full of one pattern must not fill the memory. A thread sees ascending blocks, so the one
            // that is kept is the lowest.
            if collection.entries.last(beside: fingerprint)?.fingerprint == fingerprint { continue }
            collection.entries.append(TableEntry(fingerprint: fingerprint, number: first + UInt64(index)))
        }
    }

    @Sendable
    private static func distinct(_ sorted: consuming [TableEntry]) -> [TableEntry] {
        var kept = 0
        for index in sorted.indices
        where kept == 0 || sorted[kept - 1].fingerprint != sorted[index].fingerprint {
            sorted[kept] = sorted[index]
            kept += 1
        }
        sorted.removeLast(sorted.count - kept)
        return sorted
    }
}
