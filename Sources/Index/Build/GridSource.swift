import Block
import BlockModel

/// An image whose offsets are those of its grid (`GridLayout`). Bytes that fill a section up read as zeros.
struct GridSource: ImageSource {
    private let base: any ImageSource
    private let layout: GridLayout
    let size: UInt64
    var preferredRead: Int { base.preferredRead }
    var extraReaders: Int { base.extraReaders }

    private init(_ base: any ImageSource, _ layout: GridLayout, size: UInt64) {
        self.base = base
        self.layout = layout
        self.size = size
    }

    /// The source with the offsets of a geometry's grid; the source itself if there is no layout.
    static func on(_ geometry: BlockGeometry, _ base: any ImageSource) -> any ImageSource {
        geometry.layout.map { GridSource(base, $0, size: geometry.size) } ?? base
    }

    func stamp() throws -> ImageStamp { try base.stamp() }

    func identity() throws -> ImageIdentity? { try base.identity() }

    func nextData(from offset: UInt64) throws -> Range<UInt64>? {
        try layout.nextData(from: offset, of: base.nextData)
    }

    func readAhead(_ range: Range<UInt64>) -> [Range<UInt64>] {
        let disk = layout.diskRange(ofGrid: range)
        return disk.isEmpty ? [] : base.readAhead(disk)
    }

    func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws {
        try layout.read(into: buffer, at: offset, of: base.read)
    }

    func release(_ ranges: [Range<UInt64>]) { base.release(ranges) }
}
