import Block
import NIOConcurrencyHelpers

/// Another NBD server's disk that is being indexed. Its changes can't be seen, so it is never known to be unchanged.
struct NBDImageSource: ImageSource {
    private struct Known {
        /// Ranges of data, ascending, from the last answers of the server.
        var data: ArraySlice<Range<UInt64>> = []
        var end: UInt64 = 0
    }

    private let image: NBDClientImage
    /// Kept alive as long as the source; nil for a server that is not this process's.
    private let server: (any Sendable & AnyObject)?
    private let known = NIOLockedValueBox(Known())
    var size: UInt64 { image.size }
    let preferredRead = 1 << 20
    /// Readers wait for the server; several keep the link busy.
    let extraReaders = 4

    init(_ image: NBDClientImage, servedBy server: (any Sendable & AnyObject)? = nil) {
        self.server = server
        self.image = image
    }

    func stamp() throws -> ImageStamp { ImageStamp(device: 0, inode: 0, size: size, modified: 0) }

    func identity() throws -> ImageIdentity? { nil }

    /// Offsets must ascend: earlier answers are dropped.
    func nextData(from offset: UInt64) throws -> Range<UInt64>? {
        try known.withLockedValue { known in
            while true {
                while let first = known.data.first {
                    if first.upperBound > offset { return max(first.lowerBound, offset)..<first.upperBound }
                    known.data.removeFirst()
                }
                known.end = max(known.end, offset)
                guard known.end < size else { return nil }
                for extent in try image.extents(from: known.end) {
                    let range = known.end..<known.end + extent.length
                    if !extent.state.contains(.zero) { known.data.append(range) }
                    known.end = range.upperBound
                }
            }
        }
    }

    func readAhead(_ range: Range<UInt64>) -> [Range<UInt64>] { [] }

    func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws {
        try image.read(into: buffer, at: offset)
    }

    func release(_ ranges: [Range<UInt64>]) {}
}
