import Block

/// How much of an image stands in the index, in blocks. Its JSON is part of nearblock's interface.
public struct Similarity: Codable, Hashable, Sendable {
    /// One neighbour's share.
    public struct Share: Codable, Hashable, Sendable {
        /// The neighbour's name in the index.
        public let name: String
        /// Non-zero blocks of the image whose fingerprint this neighbour's table has.
        public let found: UInt64
    }

    /// Bytes a block.
    public let block: Int
    /// All blocks of the image.
    public let blocks: UInt64
    /// Blocks of zeros, holes included.
    public let zero: UInt64
    /// Different fingerprints among the others.
    public let distinct: UInt64
    /// Non-zero blocks whose fingerprint any table has.
    public let found: UInt64
    /// Each neighbour of the index by itself, those with nothing included.
    public let neighbours: [Share]

    /// Measures an image against an index. The figures are exact as far as the tables are true to their
    /// images; open the index with `check: .everything` to leave damaged tables out.
    ///
    /// Needs 16 bytes of memory for each block that is not zero. The image itself may be in the index and
    /// then counts like any other neighbour.
    /// - Parameters:
    ///   - threads: How many read, hash and look up; at least 1.
    ///   - progress: Told now and then, on any thread, how far the reading is.
    /// - Throws: `FileError` or `IndexError` where the image can't be read.
    public static func measure(
        imagePath: String, index: NeighbourIndex, threads: Int,
        progress: (@Sendable (BuildProgress) -> Void)? = nil
    ) throws -> Similarity {
        let image = try NeighbourImage.open(imagePath)
        let scanner = try BlockScanner(image: image, blockSize: index.blockSize, threads: threads)
        let piles = try scanner.scan(from: Partitions<Fingerprint>(), progress: progress) {
            pile, _, fingerprints in
            for fingerprint in fingerprints where fingerprint != .zero { pile.append(fingerprint) }
        }
        let tallies = try PartitionSorter(piles).run(threads: threads) { sorted in
            SimilarityTally(sorted, index)
        }
        return Similarity(
            SimilarityTally(sumOf: tallies, neighbours: index.neighbours.count), index,
            blocks: TableHeader.blockCount(image.size, index.blockSize))
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
