import Block
import BlockModel
import Glibc
import Hashing
import Index
import MigrationProtocol

/// Blocks of a disk whose bytes have come, and where these are.
struct ArrivedBlocks {
    enum Bytes {
        case zeros
        /// In the image already, as an earlier copy of the disk has left them.
        case inImage
        /// In memory, from here on.
        case inBuffer(BlockBuffer, at: Int)
    }

    let blocks: Range<UInt64>
    let bytes: Bytes
    /// Of each block; none for zeros.
    var fingerprints: [Fingerprint] = []

    /// Whether they can be read without the image.
    var isAtHand: Bool { if case .inImage = bytes { false } else { true } }

    /// Puts some of them into the image, and what they are into the manifest.
    /// - Throws: where that fails, or the image does not hold them after all.
    func put(_ run: Range<UInt64>, into image: RawImage, _ manifest: FingerprintFile, _ geometry: BlockGeometry) throws
    {
        switch bytes {
        case .zeros:
            try image.punch(run, geometry)
            return try manifest.setZero(run)
        case .inImage:
            // Looked at once more while nobody else can touch it.
            let hasher = BlockHasher()
            for block in run where !image.holds(fingerprint(of: block), at: block, geometry, hasher) {
                throw FileError("find a block again in", image.path, code: EAGAIN)
            }
        case .inBuffer(let buffer, let start):
            let bytes = geometry.bytes(of: run)
            try image.write(part(bytes, of: buffer, start, geometry), at: bytes.lowerBound)
        }
        let first = Int(run.lowerBound - blocks.lowerBound)
        try manifest.set(fingerprints[first..<first + run.count], from: run.lowerBound)
    }

    /// Copies what there is of `range`, bytes of the disk, to where it belongs in `target`, which begins at `offset`.
    func copy(
        _ range: Range<UInt64>, into target: UnsafeMutableRawBufferPointer, at offset: UInt64, _ geometry: BlockGeometry
    ) {
        let room = UnsafeMutableRawBufferPointer(
            rebasing: target[Int(range.lowerBound - offset)..<Int(range.upperBound - offset)])
        switch bytes {
        case .zeros: memset(room.baseAddress!, 0, room.count)
        case .inImage: preconditionFailure("not at hand")
        case .inBuffer(let buffer, let position):
            room.copyMemory(from: part(range, of: buffer, position, geometry))
        }
    }

    /// Bytes of the disk where they stand in memory.
    private func part(
        _ range: Range<UInt64>, of buffer: BlockBuffer, _ start: Int, _ geometry: BlockGeometry
    ) -> UnsafeRawBufferPointer {
        let skipped = Int(range.lowerBound - geometry.bytes(of: blocks).lowerBound)
        return UnsafeRawBufferPointer(buffer.slice(start + skipped, Int(range.upperBound - range.lowerBound)))
    }

    private func fingerprint(of block: UInt64) -> Fingerprint { fingerprints[Int(block - blocks.lowerBound)] }
}

extension RawImage {
    /// Makes blocks zero.
    func punch(_ blocks: Range<UInt64>, _ geometry: BlockGeometry) throws {
        let bytes = geometry.bytes(of: blocks)
        try punchHole(at: bytes.lowerBound, length: bytes.upperBound - bytes.lowerBound)
    }

    /// Which groups of a summary the image does not hold, read and hashed now.
    /// - Parameter found: given the blocks of each of the others, and their fingerprints.
    func compare(
        _ summary: ManifestSummary, _ geometry: BlockGeometry, _ hasher: BlockHasher,
        found: (Range<UInt64>, [Fingerprint]) throws -> Void
    ) rethrows -> ManifestDifferences {
        var differences = ManifestDifferences(first: summary.first, differs: [], present: 0)
        for group in summary.groups.indices {
            let blocks = summary.blocks(of: group)
            let known = known(blocks, as: summary.groups[group], geometry, hasher)
            differences.differs.append(known == nil)
            guard let known else { continue }
            for (block, fingerprint) in zip(blocks, known) where fingerprint != .zero {
                differences.present += geometry.byteCount(of: block..<block + 1)
            }
            try found(blocks, known)
        }
        return differences
    }

    /// The fingerprints of a group's blocks where they are what is said of them.
    private func known(
        _ blocks: Range<UInt64>, as group: Fingerprint, _ geometry: BlockGeometry, _ hasher: BlockHasher
    ) -> [Fingerprint]? {
        guard group != .zero else { return nil }
        let known = blocks.compactMap { fingerprint(of: $0, geometry, hasher) }
        return Fingerprint.combined(known) == group ? known : nil
    }

    /// Whether a block, read and hashed now, is the one that is meant; false where it can't be read.
    func holds(_ fingerprint: Fingerprint, at block: UInt64, _ geometry: BlockGeometry, _ hasher: BlockHasher) -> Bool {
        self.fingerprint(of: block, geometry, hasher) == fingerprint
    }

    /// Of a block, read and hashed now; nil where it can't be read.
    func fingerprint(of block: UInt64, _ geometry: BlockGeometry, _ hasher: BlockHasher) -> Fingerprint? {
        withUnsafeTemporaryAllocation(byteCount: geometry.blockSize, alignment: 16) {
            fingerprint(of: block, geometry, hasher, into: $0)
        }
    }

    /// As `fingerprint`, and leaves the block in `buffer`; the last one of the disk is filled up with zeros.
    func fingerprint(
        of block: UInt64, _ geometry: BlockGeometry, _ hasher: BlockHasher, into buffer: UnsafeMutableRawBufferPointer
    ) -> Fingerprint? {
        let range = geometry.bytes(of: block..<block + 1)
        let count = Int(range.upperBound - range.lowerBound)
        memset(buffer.baseAddress! + count, 0, buffer.count - count)
        let part = UnsafeMutableRawBufferPointer(rebasing: buffer[..<count])
        guard (try? read(into: part, at: range.lowerBound)) != nil else { return nil }
        return hasher.fingerprint(UnsafeRawBufferPointer(buffer))
    }
}
