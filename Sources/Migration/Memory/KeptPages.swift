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
    private static let mostAtOnce = 64

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
        try add(batch.literalPages, of: batch.bytes)
    }

    /// Keeps pages. Many go in one call of the kernel.
    /// - Parameter pages: their offsets in `bytes`.
    /// - Throws: `FileError`.
    mutating func add(_ pages: [Int], of bytes: [UInt8]) throws {
        guard let most = [pages.count, Self.mostAtOnce, capacity].min(), most > 0 else { return }
        try withUnsafeTemporaryAllocation(byteCount: most * StreamPart.pageBytes, alignment: 16) { buffer in
            var rest = pages[...]
            while !rest.isEmpty {
                let place = Int(count % UInt64(capacity))
                let part = rest.prefix(min(most, capacity - place))
                for (number, page) in part.enumerated() {
                    buffer[number * StreamPart.pageBytes..<(number + 1) * StreamPart.pageBytes].copyBytes(
                        from: bytes[page..<page + StreamPart.pageBytes])
                }
                let gathered = UnsafeRawBufferPointer(rebasing: buffer[..<(part.count * StreamPart.pageBytes)])
                try file.write(gathered, at: UInt64(place * StreamPart.pageBytes))
                count += UInt64(part.count)
                rest = rest.dropFirst(part.count)
            }
        }
    }

    /// Reads a page by its number.
    /// - Throws: `FileError`.
    func read(_ number: UInt64, into page: UnsafeMutableRawBufferPointer) throws {
        try file.read(into: page, at: number % UInt64(capacity) * UInt64(StreamPart.pageBytes))
    }
}
