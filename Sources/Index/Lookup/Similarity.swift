import Block
import BlockModel
import Glibc
import NIOConcurrencyHelpers

/// Counts how many blocks of an image are in the index. The JSON form is part of nearblock's interface.
public struct Similarity: Codable, Hashable, Sendable {
    /// One neighbour's share.
    public struct Share: Codable, Hashable, Sendable {
        /// The neighbour's name in the index.
        public let name: String
        /// Nonzero blocks of the image whose fingerprint is in this neighbour's table.
        public let found: UInt64
    }

    /// Block size in bytes.
    public let block: Int
    /// Number of blocks in the image.
    public let blocks: UInt64
    /// Number of zero blocks, holes included.
    public let zero: UInt64
    /// Number of distinct fingerprints among the nonzero blocks.
    public let distinct: UInt64
    /// Nonzero blocks whose fingerprint is in any table.
    public let found: UInt64
    /// Each neighbour of the index by itself, also those with no block of the image.
    public let neighbours: [Share]

    /// Measures an image against an index. The figures are exact if the tables match their images; open the index with
    /// `check: .everything` to skip damaged tables.
    ///
    /// Needs 16 bytes of scratch space in `TMPDIR` or `/tmp` for each nonzero block. If the image itself is in the
    /// index, it counts like any other neighbour.
    /// - Parameters:
    ///   - image: a path, or an NBD URI.
    ///   - findPlaces: Finds where its blocks begin besides its start; nil for nowhere.
    ///   - progress: Called now and then, on any thread, with how far the reading has come.
    /// - Throws: `FileError`, `NBDClientError` or `IndexError` if the image can't be read.
    public static func measure(
        image: String, index: NeighbourIndex, findPlaces: IndexStore.PlaceFinder? = nil, options: BuildOptions,
        progress: (@Sendable (BuildProgress) -> Void)? = nil
    ) throws -> Similarity {
        let found = try NeighbourImage.source(image)
        let origins = found.origins(blockSize: index.blockSize, findPlaces) ?? []
        guard let geometry = BlockGeometry(size: found.size, blockSize: index.blockSize, origins: origins) else {
            throw IndexError.tooManyBlocks(image: image, blocks: TableHeader.blockCount(found.size, index.blockSize))
        }
        let source = GridSource.on(geometry, found)
        let scanner = BlockScanner(source: source, blockSize: index.blockSize, options: options)
        let bits = EntryPartitioner.bits(for: geometry.blockCount)
        let scratch = try ScratchFile(in: IndexDirectory(path: getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp"))
        let partitioners = try scanner.scan(from: EntryPartitioner(scratch: scratch, bits: bits), progress: progress) {
            partitioner, _, fingerprints in
            for fingerprint in fingerprints where fingerprint != .zero {
                try partitioner.append(CatalogueEntry(fingerprint))
            }
        }
        let next = NIOLockedValueBox(0)
        let tallies = try Workers.run(options.threads) {
            var tally = SimilarityTally(neighbours: index.neighbours.count)
            var sorter = PartitionSorter(of: partitioners)
            while true {
                let partition = next.withLockedValue { next in
                    defer { next += 1 }
                    return next
                }
                guard partition < 1 << bits else { return tally }
                tally.add(UnsafeBufferPointer(try sorter.sort(partition)), index)
            }
        }
        return Similarity(
            tallies.reduce(into: SimilarityTally(neighbours: index.neighbours.count)) { $0.add($1) }, index,
            blocks: geometry.blockCount)
    }

    private init(_ tally: SimilarityTally, _ index: NeighbourIndex, blocks: UInt64) {
        block = index.blockSize
        self.blocks = blocks
        zero = blocks - tally.blocks
        distinct = tally.distinct
        found = tally.found
        neighbours = zip(index.neighbours, tally.foundByNeighbour).map { Share(name: $0.name, found: $1) }
    }
}
