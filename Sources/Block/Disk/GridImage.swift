import BlockModel

/// A disk's image whose offsets are those of the disk's grid (`GridLayout`). Bytes that fill a section up read as zeros, and
/// are not written.
final class GridImage: DiskImage {
    private let base: any DiskImage
    private let geometry: BlockGeometry
    private let layout: GridLayout

    init(_ base: any DiskImage, _ geometry: BlockGeometry, _ layout: GridLayout) {
        self.base = base
        self.geometry = geometry
        self.layout = layout
    }

    var path: String { base.path }
    var size: UInt64 { geometry.size }
    var isWritable: Bool { base.isWritable }
    var isRotational: Bool { base.isRotational }
    var isFile: Bool { base.isFile }
    var fileNumber: FileNumber? { base.fileNumber }
    var isAtPath: Bool { base.isAtPath }
    var losses: LossCount { base.losses }
    /// Its offsets are those of the disk.
    var device: BlockDevice { base.device }
    var flushFailure: FileError? { base.flushFailure }

    func identity() throws -> ImageIdentity? { try base.identity() }

    func isOpenOnSame(as other: any DiskImage) throws -> Bool {
        try base.isOpenOnSame(as: (other as? GridImage)?.base ?? other)
    }

    func reopened(for access: RawImage.Access) throws -> any DiskImage {
        GridImage(try base.reopened(for: access), geometry, layout)
    }

    func allocatedBytes() throws -> UInt64 { try base.allocatedBytes() }

    func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws {
        try layout.read(into: buffer, at: offset, of: base.read)
    }

    func write(_ buffer: UnsafeRawBufferPointer, at offset: UInt64) throws {
        try layout.forEachPart(of: offset..<offset + UInt64(buffer.count)) { part, place in
            guard let place else { return }
            let first = Int(part.lowerBound - offset)
            try base.write(UnsafeRawBufferPointer(rebasing: buffer[first..<first + part.count]), at: place)
        }
    }

    func punchHole(at offset: UInt64, length: UInt64) throws {
        try clear(offset, length, base.punchHole)
    }

    func writeZeros(at offset: UInt64, length: UInt64) throws {
        try clear(offset, length, base.writeZeros)
    }

    private func clear(_ offset: UInt64, _ length: UInt64, _ body: (UInt64, UInt64) throws -> Void) throws {
        try layout.forEachPart(of: offset..<offset + length) { part, place in
            if let place { try body(place, UInt64(part.count)) }
        }
    }

    func nextData(from offset: UInt64) throws -> Range<UInt64>? {
        try layout.nextData(from: offset, of: base.nextData)
    }

    func beginWritingOut() { base.beginWritingOut() }
    func synchronize() throws { try base.synchronize() }
    func checkIsDurable() throws { try base.checkIsDurable() }
    func forgetLosses() { base.forgetLosses() }
    func refuseAfterLosses(_ isOn: Bool) { base.refuseAfterLosses(isOn) }
}

extension DiskImage {
    /// The image with the offsets of a geometry's grid; this one if there is no layout.
    public func on(_ geometry: BlockGeometry) -> any DiskImage {
        precondition(!(self is GridImage), "the image is on a grid already")
        guard let layout = geometry.layout else { return self }
        return GridImage(self, geometry, layout)
    }
}
