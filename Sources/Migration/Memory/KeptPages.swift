import Block
import Glibc
import MigrationCore
import MigrationProtocol

/// The latest pages of a memory stream that came as bytes, in a scratch file. It has no name, and vanishes with this object.
struct KeptPages {
    /// Pages that are kept.
    let capacity: Int
    private let file: RawImage
    private var count: UInt64 = 0

    /// - Throws: `FileError`.
    init(capacity: Int, directory: String) throws {
        self.capacity = capacity
        let path = "\(directory)/memory-\(MigrationID()).tmp"
        file = try RawImage.create(path: path, size: UInt64(capacity * StreamPart.pageBytes))
        unlink(path)
    }

    /// Keeps the pages of a batch that came as bytes.
    /// - Throws: `FileError`.
    mutating func add(_ batch: MemoryUnpacker.Unpacked) throws {
        try batch.bytes.withUnsafeBytes { bytes in
            for page in batch.literalPages {
                let place = Int(count % UInt64(capacity)) * StreamPart.pageBytes
                try file.write(
                    UnsafeRawBufferPointer(rebasing: bytes[page..<page + StreamPart.pageBytes]), at: UInt64(place))
                count += 1
            }
        }
    }

    /// Reads a page by its number.
    /// - Throws: `FileError`.
    func read(_ number: UInt64, into page: UnsafeMutableRawBufferPointer) throws {
        try file.read(into: page, at: number % UInt64(capacity) * UInt64(StreamPart.pageBytes))
    }
}
