import Glibc
import Synchronization

/// The size of an image whose file grows or shrinks while it is open.
extension RawImage {
    /// Bytes of the disk that the file or device has now; never more than a size that the configuration sets.
    /// - Throws: `FileError`.
    public func currentSize() throws -> UInt64 {
        let end = try measure()
        return fixedSize.map { min(end, $0) } ?? end
    }

    private func measure() throws -> UInt64 {
        guard isBlockDevice else {
            var info = stat()
            guard fstat(descriptor, &info) == 0 else { throw FileError("stat", path) }
            return UInt64(info.st_size)
        }
        let end = lseek(descriptor, 0, SEEK_END)
        guard end >= 0 else { throw FileError("measure", path) }
        return UInt64(end)
    }

    /// Sets the image's size to that of its file. Nothing may rely on the old size: no migration, no map of missing
    /// blocks.
    /// - Parameter newSize: bytes, more than 0.
    /// - Throws: `FileError` if O_DIRECT does not suit the size; the image then keeps its size.
    public func resize(to newSize: UInt64) throws {
        try direct?.check(size: newSize, path: path)
        length.store(newSize, ordering: .relaxed)
        limit.store(newSize, ordering: .relaxed)
    }

    /// Whether the configuration, or a command that has made the image's place, sets the size.
    public var hasFixedSize: Bool { fixedSize != nil }

    /// Makes the file longer, by a hole that is durable on return. The disk keeps its size until `resize`.
    /// - Parameter newSize: bytes, more than the file has.
    /// - Throws: `FileError`; also if O_DIRECT does not suit the size.
    public func growFile(to newSize: UInt64) throws {
        try direct?.check(size: newSize, path: path)
        guard let end = off_t(exactly: newSize) else { throw FileError("make longer", path, code: EFBIG) }
        // Somebody else may have made it longer meanwhile.
        guard try currentSize() <= newSize else { throw FileError("make longer", path, code: EBUSY) }
        guard ftruncate(descriptor, end) == 0 else { throw FileError("make longer", path) }
        try synchronize()
    }

    /// Calls `report`, on any thread, each time that the file is found to end before the disk does.
    /// - Parameter report: called with the bytes that are left; nil for no report.
    public func whenCut(_ report: (@Sendable (UInt64) -> Void)?) { whenCut.withLockedValue { $0 = report } }

    /// Finds out where the file ends now. Blocks the thread.
    public func lookAtEnd() {
        guard let now = try? currentSize() else { return }
        let end = min(now, size)
        let before = limit.exchange(end, ordering: .relaxed)
        guard end < size, end != before else { return }
        whenCut.withLockedValue { $0 }?(end)
    }

    /// Whether the range is within the file, according to the last look.
    func reaches(_ offset: UInt64, _ length: UInt64) -> Bool { offset + length <= limit.load(ordering: .relaxed) }
}
