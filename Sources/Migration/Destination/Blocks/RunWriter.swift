import Block
import BlockModel
import Glibc
import MigrationProtocol

/// Gathers consecutive blocks and writes them to the image together; marks them present only then (invariant 2).
struct RunWriter {
    private let image: any DiskImage
    private let geometry: BlockGeometry
    private let presentMap: PresentMap
    private let buffer: BlockBuffer
    private let capacity: Int
    private var first: UInt64 = 0
    private var count = 0
    /// Bytes since the kernel was last told to write.
    private var unwritten = 0

    /// The round ends once the image is durable. Without this, the kernel keeps most of a round until then, and the source
    /// waits: for 1.1 s after 850 MB (2026-11-30).
    private static let writesOutAfter = 64 << 20

    init(image: any DiskImage, geometry: BlockGeometry, presentMap: PresentMap) {
        self.image = image.on(geometry)
        self.geometry = geometry
        self.presentMap = presentMap
        capacity = (1 << 20) / geometry.blockSize
        buffer = BlockBuffer(byteCount: 1 << 20)
    }

    /// Room for one block, to be filled before `add`.
    /// - Throws: `FileError` from writing what was gathered before.
    mutating func room(for block: UInt64) throws -> UnsafeMutableRawBufferPointer {
        if count == capacity || (count > 0 && block != first + UInt64(count)) { try flush() }
        return buffer.slice(count * geometry.blockSize, geometry.blockSize)
    }

    /// The room has been filled with the bytes of `block`.
    mutating func add(_ block: UInt64) {
        if count == 0 { first = block }
        precondition(block == first + UInt64(count))
        count += 1
    }

    /// Whether a block has been gathered and not been written.
    func holds(_ block: UInt64) -> Bool {
        count > 0 && block >= first && block < first + UInt64(count)
    }

    mutating func flush() throws {
        guard count > 0 else { return }
        let blocks = first..<first + UInt64(count)
        let bytes = geometry.bytes(of: blocks)
        let length = Int(bytes.upperBound - bytes.lowerBound)
        try image.write(UnsafeRawBufferPointer(buffer.prefix(length)), at: bytes.lowerBound)
        presentMap.mark(blocks)
        count = 0
        unwritten += length
        guard unwritten >= Self.writesOutAfter else { return }
        image.beginWritingOut()
        unwritten = 0
    }
}
