import Block
import MigrationCore

/// A disk of a guest at the destination, from which pages of its memory are read.
struct MemoryDisk: Sendable {
    /// nil if it can't be read here.
    let image: (any DiskImage)?

    /// Whole pages that it has.
    var pages: UInt64 { (image?.size ?? 0) / UInt64(StreamPart.pageBytes) }

    /// Reads consecutive pages. Pages that can't be read are left as they are: their batch is then asked for again.
    /// - Parameters:
    ///   - offset: of the first page in `bytes`; the others follow each `stride` bytes.
    func read(_ first: UInt64, count: Int, into bytes: inout [UInt8], at offset: Int, stride: Int) {
        guard let image else { return }
        withUnsafeTemporaryAllocation(byteCount: Self.mostAtOnce * StreamPart.pageBytes, alignment: 16) { buffer in
            var done = 0
            while done < count {
                let part = min(count - done, Self.mostAtOnce)
                let read = UnsafeMutableRawBufferPointer(rebasing: buffer[..<(part * StreamPart.pageBytes)])
                let start = (first + UInt64(done)) * UInt64(StreamPart.pageBytes)
                guard (try? image.read(into: read, at: start)) != nil else { return }
                bytes.withUnsafeMutableBytes { bytes in
                    for page in 0..<part {
                        let place = offset + (done + page) * stride
                        bytes[place..<place + StreamPart.pageBytes].copyBytes(
                            from: read[page * StreamPart.pageBytes..<(page + 1) * StreamPart.pageBytes])
                    }
                }
                done += part
            }
        }
    }

    private static let mostAtOnce = 64
}
