/// Consecutive pieces of a memory stream whose bytes come from one source.
package struct MemoryRun: Equatable, Sendable {
    /// The origin of the bytes.
    package enum Source: Equatable, Sendable {
        /// Literal bytes that are no pages.
        case bytes
        /// Pages of zeros. With headers, each is one zero byte in the stream.
        case zeros
        /// Literal pages.
        case pages
        /// Blocks of a disk, from this one on.
        case disk(Int, first: UInt64)
        /// Pages that were sent before, from this one on.
        case sent(first: UInt64)
    }

    package var source: Source
    /// Bytes for `bytes`, otherwise pages; at least 1.
    package var count: Int
    /// The header of the first page, and those behind it follow by a page each; nil if pages have none.
    package var header: UInt64?

    package init(_ source: Source, count: Int, header: UInt64? = nil) {
        self.source = source
        self.count = count
        self.header = header
    }

    /// Bytes of a piece in the stream, its header included.
    package var pieceBytes: Int {
        switch source {
        case .bytes: 1
        case .zeros where header != nil: StreamPart.count(of: .zeroPage)
        case .zeros, .pages, .disk, .sent: StreamPart.count(of: header == nil ? .barePage : .page)
        }
    }

    /// Bytes of the stream.
    package var byteCount: Int { count * pieceBytes }

    /// Bytes of a piece that stand among the literals.
    package var literalBytes: Int {
        switch source {
        case .bytes: 1
        case .pages: StreamPart.pageBytes
        case .zeros, .disk, .sent: 0
        }
    }
}
