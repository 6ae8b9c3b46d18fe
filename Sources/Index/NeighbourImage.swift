import Block
import Glibc
import NIOConcurrencyHelpers

/// A neighbour's image, opened when it is first needed and again when it no longer is what it was.
final class NeighbourImage: Sendable {
    private let path: String
    private let opened = NIOLockedValueBox<RawImage?>(nil)

    init(path: String) {
        self.path = path
    }

    /// Nil where there is no image of that name now. An image that has been deleted is let go, for it would
    /// keep its space on the disk.
    func current() -> RawImage? {
        if let image = opened.withLockedValue({ $0 }) {
            var info = stat()
            if fstat(image.descriptor, &info) == 0, info.st_nlink > 0 { return image }
            forget(image)
        }
        guard let image = try? Self.open(path) else { return nil }
        opened.withLockedValue { $0 = image }
        return image
    }

    /// Has the path looked up again next time: another image may stand there now.
    func forget(_ image: RawImage) {
        opened.withLockedValue { if $0 === image { $0 = nil } }
    }

    /// Looks at what the path is before it opens it: opening a named pipe would wait for a writer.
    static func open(_ path: String) throws -> RawImage {
        var info = stat()
        guard stat(path, &info) == 0 else { throw FileError("open", path) }
        let kind = info.st_mode & S_IFMT
        guard kind == S_IFREG || kind == S_IFBLK else { throw IndexError.notAnImage(path) }
        return try RawImage(path: path, access: .readOnly)
    }
}
