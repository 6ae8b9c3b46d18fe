import Hashing
import Index

extension FingerprintFile: FingerprintSource {
    package var blockCount: UInt64 { geometry.blockCount }

    package var dataBlocksLimit: UInt64 { dataSegments * Self.segmentBlocks }

    package func nextData(from block: UInt64) throws -> Range<UInt64>? {
        let width = UInt64(Fingerprint.byteCount)
        guard let data = try file.nextData(from: block * width) else { return nil }
        return max(block, data.lowerBound / width)..<min(blockCount, (data.upperBound + width - 1) / width)
    }

    package func read(_ blocks: Range<UInt64>, into buffer: UnsafeMutableRawBufferPointer) throws {
        try file.read(into: buffer, at: blocks.lowerBound * UInt64(Fingerprint.byteCount))
    }
}
