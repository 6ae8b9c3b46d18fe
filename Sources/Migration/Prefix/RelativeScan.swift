import Block
import BlockModel
import Hashing
import Index
import MigrationCore
import MigrationProtocol

/// Reads the moved disk and a relative of it, and finds out which blocks of the relative resemble what the destination
/// lacks.
///
/// `@unchecked Sendable`: used by one job at a time, whichever thread that runs on.
final class RelativeScan: @unchecked Sendable {
    /// Bytes of the disk, and of a relative, that are looked at, evenly spread where there are more. Bytes of one job.
    private static let mostBytes: UInt64 = 1 << 30
    private static let pieceBytes = 1 << 20
    /// Runs of data after which the rest of a disk is left out: walking over more takes long.
    private static let mostRuns = 1 << 16
    /// Samples of the disk, taken some together, and of each candidate.
    private static let samples: UInt64 = 512
    private static let samplesTogether: UInt64 = 4
    private static let candidateSamples: UInt64 = 128

    private let index: NeighbourIndex
    private let reader: BlockReader
    private let hasher = BlockHasher()
    private let room: BlockBuffer
    private var anchors = AnchorTable()
    /// The first halves of the fingerprints of the relative, of those of its blocks that the disk has, and of the disk's
    /// other blocks.
    private var theirs: Set<UInt64> = []
    private var shared: Set<UInt64> = []
    private var own: Set<UInt64> = []
    private var blocks: [(block: UInt64, fingerprint: Fingerprint)] = []
    private var scored: [PrefixChoice.Scored] = []
    /// Bytes of blocks that the disk has and the relative does not.
    private(set) var missing: UInt64 = 0

    init(image: any DiskImage, geometry: BlockGeometry, index: NeighbourIndex) {
        self.index = index
        reader = BlockReader(image: image, geometry: geometry, maximumBytes: Self.pieceBytes)
        room = BlockBuffer(byteCount: geometry.blockSize)
    }

    private var blockSize: UInt64 { UInt64(reader.geometry.blockSize) }
    private var pieceBlocks: UInt64 { max(1, UInt64(Self.pieceBytes) / blockSize) }
    private var mostBlocks: UInt64 { Self.mostBytes / blockSize }

    /// The disk's data.
    /// - Throws: `FileError`.
    func data() throws -> [Range<UInt64>] {
        var runs: [Range<UInt64>] = []
        var position: UInt64 = 0
        while runs.count < Self.mostRuns, let run = try reader.nextData(from: position) {
            let run = max(run.lowerBound, position)..<run.upperBound
            guard !run.isEmpty else { break }
            runs.append(joining: run)
            position = run.upperBound
        }
        return runs
    }

    /// The parts of the disk to look at, each for one job.
    func pieces(of data: [Range<UInt64>]) -> [Range<UInt64>] {
        EvenPieces.of(data, piece: pieceBlocks, most: mostBlocks)
    }

    /// Fingerprints of some blocks; none is zero.
    /// - Throws: `FileError`.
    func samples(of data: [Range<UInt64>]) throws -> [Fingerprint] {
        try EvenPieces.of(data, piece: Self.samplesTogether, most: Self.samples)
            .flatMap { try reader.fingerprints(of: $0) }.filter { $0 != .zero }
    }

    /// First halves of fingerprints of some blocks of a neighbour.
    /// - Throws: `FileError`.
    func samples(ofNeighbour neighbour: Int) throws -> [UInt64] {
        try index.blocks(of: neighbour, piece: 1, most: Self.candidateSamples).map(\.fingerprint.high)
    }

    /// Begins to compare the disk with a neighbour.
    /// - Returns: the number of parts of the neighbour for `compare`.
    /// - Throws: `FileError`.
    func begin(with neighbour: Int) throws -> Int {
        blocks = try index.blocks(of: neighbour, piece: pieceBlocks, most: mostBlocks)
        theirs = Set(blocks.lazy.map(\.fingerprint.high))
        return (blocks.count + Int(pieceBlocks) - 1) / Int(pieceBlocks)
    }

    /// Notes what stands in a part of the disk that the neighbour does not have as it is.
    /// - Throws: `FileError`.
    func note(_ piece: Range<UInt64>) throws {
        try reader.read(piece)
        let size = Int(blockSize)
        for place in 0..<piece.count {
            let fingerprint = reader.fingerprint(at: place * size)
            guard fingerprint != .zero else { continue }
            if theirs.contains(fingerprint.high) {
                shared.insert(fingerprint.high)
            } else if own.insert(fingerprint.high).inserted {
                anchors.add(UnsafeRawBufferPointer(rebasing: reader.bytes((place + 1) * size)[(place * size)...]))
                missing += blockSize
            }
        }
    }

    /// Counts, in a part of the neighbour, what was noted of the disk. Blocks that the disk has as they are do not count,
    /// and none counts twice.
    func compare(_ part: Int, of neighbour: Int) {
        let start = part * Int(pieceBlocks)
        let part = blocks[start..<min(start + Int(pieceBlocks), blocks.count)]
            .filter { shared.insert($0.fingerprint.high).inserted }
        index.willFetch(part.map { Candidate(neighbour: neighbour, block: $0.block) })
        for (block, fingerprint) in part {
            guard
                index.fetch(
                    Candidate(neighbour: neighbour, block: block), expecting: fingerprint, into: room.bytes,
                    hasher: hasher)
            else { continue }
            scored.append(PrefixChoice.Scored(block: block, anchors: anchors.take(UnsafeRawBufferPointer(room.bytes))))
        }
    }

    /// The fingerprints of the blocks that are worth it to be the prefix; empty if none are.
    func chosen() -> [(block: UInt64, fingerprint: Fingerprint)] {
        let most = min(PrefixQuestion.maximumBlocks, PrefixQuestion.maximumBytes / Int(blockSize))
        let choice = PrefixChoice(of: scored, most: most)
        guard choice.isWorthIt(for: missing) else { return [] }
        let known = Dictionary(blocks.lazy.map { ($0.block, $0.fingerprint) }, uniquingKeysWith: { first, _ in first })
        return choice.blocks.compactMap { block in known[block].map { (block, $0) } }
    }

    /// The bytes of blocks of a neighbour, one behind the other; nil if one has changed.
    func prefix(_ blocks: [(block: UInt64, fingerprint: Fingerprint)], of neighbour: Int) -> StreamPrefix? {
        let size = Int(blockSize)
        let buffer = BlockBuffer(byteCount: blocks.count * size)
        for (place, block) in blocks.enumerated() {
            guard
                index.fetch(
                    Candidate(neighbour: neighbour, block: block.block), expecting: block.fingerprint,
                    into: buffer.slice(place * size, size), hasher: hasher)
            else { return nil }
        }
        return StreamPrefix(buffer, byteCount: blocks.count * size)
    }

    func digest(of prefix: StreamPrefix) -> Fingerprint { prefix.digest(hasher) }
}
