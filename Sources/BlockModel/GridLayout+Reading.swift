/// Reading bytes of the grid, given what reads the disk.
extension GridLayout {
    /// Fills `buffer` with the bytes of the grid at `offset`.
    /// - Parameter read: fills a buffer with the bytes of the disk at an offset.
    public func read(
        into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64,
        of read: (UnsafeMutableRawBufferPointer, UInt64) throws -> Void
    ) rethrows {
        try forEachPart(of: offset..<offset + UInt64(buffer.count)) { part, place in
            let first = Int(part.lowerBound - offset)
            let room = UnsafeMutableRawBufferPointer(rebasing: buffer[first..<first + part.count])
            if let place { try read(room, place) } else { room.initializeMemory(as: UInt8.self, repeating: 0) }
        }
    }

    /// The next range of the grid at or after `offset` that may hold data; nil if only holes and zeros follow.
    /// - Parameter nextData: the same of the disk, from an offset of the disk on.
    public func nextData(
        from offset: UInt64, of nextData: (UInt64) throws -> Range<UInt64>?
    ) rethrows -> Range<UInt64>? {
        let place = disk(ofGrid: offset)
        guard place < diskSize, let data = try nextData(place), !data.isEmpty else { return nil }
        return gridRange(ofDisk: data)
    }

    /// The range of the grid from the first to the last byte of a range of the disk, and what fills sections up in between.
    /// - Parameter bytes: not empty.
    public func gridRange(ofDisk bytes: Range<UInt64>) -> Range<UInt64> {
        grid(ofDisk: bytes.lowerBound)..<grid(ofDisk: bytes.upperBound - 1) + 1
    }

    /// The range of the disk from the first to the last byte of a range of the grid.
    public func diskRange(ofGrid bytes: Range<UInt64>) -> Range<UInt64> {
        min(diskSize, disk(ofGrid: bytes.lowerBound))..<min(diskSize, disk(ofGrid: bytes.upperBound))
    }
}
