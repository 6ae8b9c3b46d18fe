import Block
import Glibc
import Hashing

/// The fingerprints in a table file, published or not.
struct TableFingerprints: FingerprintSource {
    let file: IndexFile
    let header: TableHeader

    var blockCount: UInt64 { header.blockCount }
    var dataBlocksLimit: UInt64 { header.blockCount - header.zeroBlocks }

    func nextData(from block: UInt64) -> Range<UInt64>? {
        let size = UInt64(Fingerprint.byteCount)
        let range = header.fingerprintsRange
        guard let data = file.nextData(from: range.lowerBound + block * size), data.lowerBound < range.upperBound else {
            return nil
        }
        let first = max(block, (data.lowerBound - range.lowerBound) / size)
        let end = (min(data.upperBound, range.upperBound) - range.lowerBound + size - 1) / size
        return first < end ? first..<end : nil
    }

    func read(_ blocks: Range<UInt64>, into buffer: UnsafeMutableRawBufferPointer) throws {
        let offset = header.fingerprintsRange.lowerBound + blocks.lowerBound * UInt64(Fingerprint.byteCount)
        guard file.read(into: buffer, at: offset) else { throw FileError("read", file.path, code: EIO) }
    }
}
