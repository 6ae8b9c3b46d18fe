import Block
import BlockModel
import Glibc
import Hashing
import Index

/// Reads blocks of the source's image and takes their fingerprints, one job at a time.
///
/// `@unchecked Sendable`: used by one job at a time, whichever thread that runs on.
final class BlockReader: @unchecked Sendable {
    let geometry: BlockGeometry
    private let image: any DiskImage
    private let hasher = BlockHasher()
    private let buffer: BlockBuffer
    private let maximumBlocks: UInt64
    /// The run of blocks that held data at the last query of the file system.
    private var data: Range<UInt64> = 0..<0

    /// - Parameter maximumBytes: the most that one `read` will be asked for.
    init(image: any DiskImage, geometry: BlockGeometry, maximumBytes: Int) {
        self.image = image.on(geometry)
        self.geometry = geometry
        maximumBlocks = UInt64(max(1, maximumBytes / geometry.blockSize))
        buffer = BlockBuffer(byteCount: maximumBytes + geometry.blockSize)
    }

    /// Reads consecutive blocks, from `offset` of the buffer on; the last block of the disk is filled up with zeros.
    /// - Throws: `FileError`.
    func read(_ blocks: Range<UInt64>, at offset: Int = 0) throws {
        let range = geometry.bytes(of: blocks)
        let count = Int(range.upperBound - range.lowerBound)
        try image.read(into: buffer.slice(offset, count), at: range.lowerBound)
        let whole = blocks.count * geometry.blockSize
        if whole > count { memset(buffer.bytes.baseAddress! + offset + count, 0, whole - count) }
    }

    /// The fingerprint of the block at `offset` of the buffer.
    func fingerprint(at offset: Int) -> Fingerprint {
        hasher.fingerprint(UnsafeRawBufferPointer(buffer.slice(offset, geometry.blockSize)))
    }

    /// The fingerprints of consecutive blocks, any number of them; holes are not read.
    /// - Parameter unreadable: stands for blocks that are read together and can't be; nil to throw.
    /// - Throws: `FileError`.
    func fingerprints(of blocks: Range<UInt64>, unreadable: Fingerprint? = nil) throws -> [Fingerprint] {
        var fingerprints: [Fingerprint] = []
        fingerprints.reserveCapacity(blocks.count)
        var position = blocks.lowerBound
        while position < blocks.upperBound {
            let data = try nextData(from: position) ?? blocks.upperBound..<blocks.upperBound
            let hole = min(blocks.upperBound, max(position, data.lowerBound))
            fingerprints += repeatElement(.zero, count: Int(hole - position))
            position = hole
            let end = min(blocks.upperBound, max(position, data.upperBound), position + maximumBlocks)
            guard position < end else { continue }
            do {
                try read(position..<end)
                for index in 0..<Int(end - position) {
                    fingerprints.append(fingerprint(at: index * geometry.blockSize))
                }
            } catch let error as FileError {
                guard let unreadable else { throw error }
                fingerprints += repeatElement(unreadable, count: Int(end - position))
            }
            position = end
        }
        return fingerprints
    }

    /// The first `count` bytes of the buffer.
    func bytes(_ count: Int) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(buffer.prefix(count))
    }

    /// The first run that may hold data at or after `block`; nil if only holes follow. A block that has become a hole
    /// since a run was found may still count as data. The run is kept, because finding its end makes the kernel search
    /// all of it.
    func nextData(from block: UInt64) throws -> Range<UInt64>? {
        if data.contains(block) { return data }
        guard let bytes = try image.nextData(from: block * UInt64(geometry.blockSize)) else { return nil }
        data = geometry.blocks(touching: bytes)
        return data
    }

    /// Moves `count` bytes within the buffer, over those of blocks that turned out to be zero.
    func move(from: Int, to: Int, count: Int) {
        if from != to { memmove(buffer.bytes.baseAddress! + to, buffer.bytes.baseAddress! + from, count) }
    }
}
