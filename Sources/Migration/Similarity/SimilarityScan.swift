import Block
import BlockModel
import Hashing
import Index
import MigrationCore

/// Reads a disk once, and counts which of its blocks several groups of neighbours have. Nothing of the neighbours is read.
package struct SimilarityScan {
    /// Bytes of the disk that one group of neighbours has.
    package struct Share: Sendable, Equatable {
        /// Bytes of blocks that a neighbour of the group has.
        package var found: UInt64 = 0
        /// Bytes of the others, which would cross the link.
        package var link: UInt64 = 0
        /// The expected size of `link`, compressed.
        package var data: UInt64 = 0
    }

    /// The disk's bytes by kind.
    package struct Result: Sendable, Equatable {
        package var zero: UInt64 = 0
        /// Bytes of blocks that stand earlier in the disk, as far as they are remembered.
        package var repeated: UInt64 = 0
        /// In the order of the groups.
        package var shares: [Share]
    }

    private static let batchBytes = 16 << 20
    private static let readBytes = 1 << 20
    /// Blocks of 16 KiB are compressed as a sample, one of each 512 KiB of the blocks that count.
    private static let (sampleBytes, sampleInterval) = (16 << 10, 512 << 10)

    private let reader: BlockReader
    private let geometry: BlockGeometry
    private let groups: [NeighbourIndex]
    private let compressibility: Compressibility
    private var repeats: RepeatCache
    private var result: Result

    /// - Parameter groups: All have blocks of the geometry's size.
    /// - Throws: `ZstdError`.
    package init(image: any DiskImage, geometry: BlockGeometry, groups: [NeighbourIndex]) throws {
        self.geometry = geometry
        self.groups = groups
        reader = BlockReader(image: image, geometry: geometry, maximumBytes: Self.readBytes)
        compressibility = try Compressibility()
        repeats = RepeatCache(blocks: geometry.blockCount)
        result = Result(shares: Array(repeating: Share(), count: groups.count))
    }

    /// Reads the disk. Blocks the thread for as long as that takes.
    /// - Parameter isWanted: Asked for each 16 MiB whether to go on.
    /// - Throws: `FileError`; `CancellationError` once `isWanted` returns false.
    package mutating func run(isWanted: () -> Bool) throws -> Result {
        let step = UInt64(Self.batchBytes / geometry.blockSize)
        for first in stride(from: 0, to: geometry.blockCount, by: Int(step)) {
            guard isWanted() else { throw CancellationError() }
            try count(first..<min(geometry.blockCount, first + step))
        }
        return result
    }

    private mutating func count(_ blocks: Range<UInt64>) throws {
        var fingerprints = try reader.fingerprints(of: blocks)
        var fresh: [UInt64] = []
        for (offset, fingerprint) in fingerprints.enumerated() {
            let block = blocks.lowerBound + UInt64(offset)
            if fingerprint == .zero {
                result.zero += bytes(of: block)
            } else if repeats.block(with: fingerprint.high) != nil {
                result.repeated += bytes(of: block)
                fingerprints[offset] = .zero
            } else {
                repeats.note(fingerprint.high, at: block)
                fresh.append(block)
            }
        }
        guard !fresh.isEmpty else { return }
        let samples = try samples(of: fresh)
        for (number, group) in groups.enumerated() {
            let found = group.lookUp(fingerprints).map { $0 != nil }
            func isHere(_ block: UInt64) -> Bool { found[Int(block - blocks.lowerBound)] }
            var link: UInt64 = 0
            for block in fresh {
                if isHere(block) {
                    result.shares[number].found += bytes(of: block)
                } else {
                    link += bytes(of: block)
                }
            }
            result.shares[number].link += link
            result.shares[number].data += UInt64(Double(link) * min(1, samples.ratio { !isHere($0) }))
        }
    }

    private func bytes(of block: UInt64) -> UInt64 {
        let range = geometry.diskBytes(of: block..<block + 1)
        return range.upperBound - range.lowerBound
    }

    private func samples(of fresh: [UInt64]) throws -> CompressionSamples {
        let length = max(1, Self.sampleBytes / geometry.blockSize)
        var samples = CompressionSamples()
        for start in stride(from: 0, to: fresh.count, by: Self.sampleInterval / geometry.blockSize) {
            var count = 1
            while count < length, start + count < fresh.count, fresh[start + count] == fresh[start] + UInt64(count) {
                count += 1
            }
            try reader.read(fresh[start]..<fresh[start] + UInt64(count))
            samples.samples +=
                compressibility.samples(
                    of: reader.bytes(count * geometry.blockSize), blocks: Array(fresh[start..<start + count]),
                    blockSize: geometry.blockSize
                ).samples
        }
        return samples
    }
}
