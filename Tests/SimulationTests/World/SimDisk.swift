import Block
import Index

@testable import BlockModel
@testable import Hashing
@testable import Migration
@testable import MigrationProtocol

/// What both nodes know of the disk, and how they speak of its blocks: a fingerprint is the block's contents itself.
///
/// Partitions may begin at any sector, so that a block in the middle of the disk may be as short as its last one.
struct SimDisk {
    static let sectorsPerBlock = 4
    let geometry: BlockGeometry
    let sectorCount: Int

    /// - Parameter partitions: the sectors at which they begin, in any order.
    init(blocks: Int, tailSectors: Int, partitions: [Int]) {
        sectorCount = (blocks - 1) * Self.sectorsPerBlock + tailSectors
        let size = UInt64(sectorCount) * SimImage.sectorBytes
        let blockSize = Self.sectorsPerBlock * Int(SimImage.sectorBytes)
        let places = partitions.map { UInt64($0) * SimImage.sectorBytes }
        geometry = BlockGeometry(
            size: size, blockSize: blockSize,
            origins: GridLayout.origins(for: places, diskSize: size, blockSize: blockSize))!
    }

    func sectors(of blocks: Range<UInt64>) -> Range<Int> {
        let bytes = geometry.diskBytes(of: blocks)
        return Int(bytes.lowerBound / SimImage.sectorBytes)..<Int(bytes.upperBound / SimImage.sectorBytes)
    }

    /// Blocks with all their sectors in the grid.
    var wholeBlocks: UInt64 { geometry.size / UInt64(geometry.blockSize) }

    func fingerprint(_ block: UInt64, in image: SimImage) -> Fingerprint {
        fingerprint(image.read(sectors(of: block..<block + 1)))
    }

    func fingerprint(_ values: [UInt32]) -> Fingerprint {
        let padded = values + Array(repeating: 0, count: Self.sectorsPerBlock - values.count)
        return Fingerprint(
            high: UInt64(padded[0]) << 32 | UInt64(padded[1]), low: UInt64(padded[2]) << 32 | UInt64(padded[3]))
    }

    func values(_ fingerprint: Fingerprint, of block: UInt64) -> [UInt32] {
        let all = [fingerprint.high >> 32, fingerprint.high, fingerprint.low >> 32, fingerprint.low]
        return all.map { UInt32(truncatingIfNeeded: $0) }.prefix(sectors(of: block..<block + 1).count).map { $0 }
    }

    func root(_ manifest: [Fingerprint], without missing: [Range<UInt64>]) -> DiskRoot {
        var manifest = manifest
        for block in missing.joined() { manifest[Int(block)] = .zero }
        var words: [UInt64] = [1, 2, 3, 4]
        func mix(_ value: UInt64) {
            for index in words.indices {
                words[index] = (words[index] ^ value &+ UInt64(index)) &* 0x100_0000_01b3
                words[index] ^= words[index] >> 29
            }
        }
        for fingerprint in manifest {
            mix(fingerprint.high)
            mix(fingerprint.low)
        }
        for run in missing {
            mix(run.lowerBound)
            mix(run.upperBound)
        }
        return DiskRoot(words.flatMap { word in (0..<8).map { UInt8(truncatingIfNeeded: word >> ($0 * 8)) } })
    }
}
