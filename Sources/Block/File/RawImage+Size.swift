import Glibc
import Synchronization

/// The size of an image whose file becomes longer or shorter while it is open.
extension RawImage {
    /// Bytes of the disk that the file or device has at this moment; never more than the size where that is the
    /// configuration's.
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

    /// Makes the image as long as its file has become. Only while nothing relies on the old size: no migration, no map
    /// of missing blocks.
    /// - Parameter newSize: bytes, more than 0.
    /// - Throws: `FileError` where O_DIRECT does not suit the size; the image stays as it is.
    public func resize(to newSize: UInt64) throws {
        try direct?.check(size: newSize, path: path)
        length.store(newSize, ordering: .relaxed)
        limit.store(newSize, ordering: .relaxed)
    }

    /// Has `report` called, on any thread, each time that the file is seen to end before the disk does.
    /// - Parameter report: given the bytes that are left; nil for nobody.
    public func whenCut(_ report: (@Sendable (UInt64) -> Void)?) { whenCut.withLockedValue { $0 = report } }

    /// Looks where the file ends now. Blocks the thread.
    public func lookAtEnd() {
        guard let now = try? currentSize() else { return }
        let end = min(now, size)
        let before = limit.exchange(end, ordering: .relaxed)
        guard end < size, end != before else { return }
        whenCut.withLockedValue { $0 }?(end)
    }

    /// Whether bytes are within the file, as far as that is known.
    func reaches(_ offset: UInt64, _ length: UInt64) -> Bool { offset + length <= limit.load(ordering: .relaxed) }
}
