import Block
import BlockModel
import Glibc
import Hashing
import Index
import MigrationProtocol

/// Blocks of a disk whose bytes have come, and the place of these bytes.
struct ArrivedBlocks {
    enum Bytes {
        case zeros
        /// In the image already, left by an earlier copy of the disk.
        case inImage
        /// In memory, from here on.
        case inBuffer(BlockBuffer, at: Int)
    }

    let blocks: Range<UInt64>
    let bytes: Bytes
    /// One for each block; none for zeros.
    var fingerprints: [Fingerprint] = []

    /// Whether they can be read without the image.
    var isAtHand: Bool { if case .inImage = bytes { false } else { true } }

    /// Puts some of them into the image, and their fingerprints into the manifest.
    /// - Throws: if that fails, or the image does not hold them after all.
    func put(_ run: Range<UInt64>, into image: any DiskImage, _ manifest: FingerprintFile, _ geometry: BlockGeometry)
        throws
    {
        switch bytes {
        case .zeros:
            try image.punch(run, geometry)
            return try manifest.setZero(run)
        case .inImage:
            // Hashed once more, now that nothing else can touch them.
            let hasher = BlockHasher()
            for block in run where !image.holds(fingerprint(of: block), at: block, geometry, hasher) {
                throw FileError("find a block again in", image.path, code: EAGAIN)
            }
        case .inBuffer(let buffer, let start):
            let bytes = geometry.bytes(of: run)
            try image.on(geometry).write(part(bytes, of: buffer, start, geometry), at: bytes.lowerBound)
        }
        let first = Int(run.lowerBound - blocks.lowerBound)
        try manifest.set(fingerprints[first..<first + run.count], from: run.lowerBound)
    }

    /// Copies the bytes of the disk in `range` to their place in `target`, which begins at `offset` of the disk.
    func copy(
        _ range: Range<UInt64>, into target: UnsafeMutableRawBufferPointer, at offset: UInt64, _ geometry: BlockGeometry
    ) {
        let room = UnsafeMutableRawBufferPointer(
            rebasing: target[Int(range.lowerBound - offset)..<Int(range.upperBound - offset)])
        switch bytes {
        case .zeros: memset(room.baseAddress!, 0, room.count)
        case .inImage: preconditionFailure("not at hand")
        case .inBuffer(let buffer, let position):
            for run in geometry.gridRuns(ofDisk: range) {
                let bytes = part(run.grid..<run.grid + UInt64(run.disk.count), of: buffer, position, geometry)
                let place = Int(run.disk.lowerBound - range.lowerBound)
                UnsafeMutableRawBufferPointer(rebasing: room[place..<place + bytes.count]).copyMemory(from: bytes)
            }
        }
    }

    /// Bytes of the grid at their place in memory.
    private func part(
        _ range: Range<UInt64>, of buffer: BlockBuffer, _ start: Int, _ geometry: BlockGeometry
    ) -> UnsafeRawBufferPointer {
        let skipped = Int(range.lowerBound - geometry.bytes(of: blocks).lowerBound)
        return UnsafeRawBufferPointer(buffer.slice(start + skipped, Int(range.upperBound - range.lowerBound)))
    }

    private func fingerprint(of block: UInt64) -> Fingerprint { fingerprints[Int(block - blocks.lowerBound)] }
}

extension DiskImage {
    /// Makes blocks zero.
    func punch(_ blocks: Range<UInt64>, _ geometry: BlockGeometry) throws {
        let bytes = geometry.diskBytes(of: blocks)
        try punchHole(at: bytes.lowerBound, length: bytes.upperBound - bytes.lowerBound)
    }

    /// Finds the groups of a summary that the image does not hold, read and hashed now.
    /// - Parameter found: receives the blocks of each other group, and their fingerprints.
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

    /// The fingerprints of a group's blocks; nil if they are not what the group says.
    private func known(
        _ blocks: Range<UInt64>, as group: Fingerprint, _ geometry: BlockGeometry, _ hasher: BlockHasher
    ) -> [Fingerprint]? {
        guard group != .zero else { return nil }
        let known = blocks.compactMap { fingerprint(of: $0, geometry, hasher) }
        return Fingerprint.combined(known) == group ? known : nil
    }

    /// Whether a block, read and hashed now, has that fingerprint; false if it can't be read.
    func holds(_ fingerprint: Fingerprint, at block: UInt64, _ geometry: BlockGeometry, _ hasher: BlockHasher) -> Bool {
        self.fingerprint(of: block, geometry, hasher) == fingerprint
    }

    /// The fingerprint of a block, read and hashed now; nil if it can't be read.
    func fingerprint(of block: UInt64, _ geometry: BlockGeometry, _ hasher: BlockHasher) -> Fingerprint? {
        withUnsafeTemporaryAllocation(byteCount: geometry.blockSize, alignment: 16) {
            fingerprint(of: block, geometry, hasher, into: $0)
        }
    }

    /// As `fingerprint`, and leaves the block in `buffer`; the last one of a section is filled up with zeros.
    func fingerprint(
        of block: UInt64, _ geometry: BlockGeometry, _ hasher: BlockHasher, into buffer: UnsafeMutableRawBufferPointer
    ) -> Fingerprint? {
        let range = geometry.diskBytes(of: block..<block + 1)
        let count = Int(range.upperBound - range.lowerBound)
        memset(buffer.baseAddress! + count, 0, buffer.count - count)
        let part = UnsafeMutableRawBufferPointer(rebasing: buffer[..<count])
        guard (try? read(into: part, at: range.lowerBound)) != nil else { return nil }
        return hasher.fingerprint(UnsafeRawBufferPointer(buffer))
    }
}
