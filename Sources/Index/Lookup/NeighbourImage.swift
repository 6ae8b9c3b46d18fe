import Block
import Foundation
import Glibc
import NIOConcurrencyHelpers
import StorageDaemon

/// A neighbour's image: opened at first use, and again after it was replaced. Any thread may use it.
final class NeighbourImage: Sendable {
    private enum Opened {
        case file(RawImage)
        case remote(NBDClientImage)
        /// Served by a helper, which ends with this.
        case helped(NBDClientImage, StorageDaemon)
        /// On another host.
        case elsewhere(any NeighbourReader)
    }

    private struct State {
        var opened: Opened?
        /// After a failed connection, the server is not contacted before this time.
        var resting: ContinuousClock.Instant?
        /// Ranges read from a server ahead of use, the oldest first.
        var ahead: [(range: Range<UInt64>, bytes: [UInt8])] = []
    }

    private static let rest = Duration.seconds(30)
    /// Bytes of one read ahead from a server, at most. `mostAhead` limits the bytes kept.
    private static let longestRun: UInt64 = 4 << 20
    private static let mostAhead = 16 << 20

    private let name: String
    /// The bytes that name the image's table.
    private let table: [UInt8]
    private let owner: RemoteTables?
    private let state = NIOLockedValueBox(State())

    init(of table: Table) {
        name = table.name
        self.table = table.key.file
        owner = table.owner
    }

    /// Fills `buffer`. Returns false if the image is gone, too short or unreadable.
    /// - Parameter isUrgent: Whether a client waits for the bytes.
    func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64, isUrgent: Bool) -> Bool {
        let range = offset..<offset + UInt64(buffer.count)
        switch current() {
        case .file(let image):
            return (try? image.read(into: buffer, at: offset)) != nil
        case .remote(let image), .helped(let image, _):
            guard range.upperBound <= image.size else { return false }
            return copyAhead(range, to: buffer) || (try? image.read(into: buffer, at: offset)) != nil
        case .elsewhere(let reader):
            return reader.read(table, into: buffer, at: offset, isUrgent: isUrgent)
        case nil:
            return false
        }
    }

    /// Prepares a read: advises the kernel, or reads the range from the server.
    func willRead(_ range: Range<UInt64>, isUrgent: Bool) {
        switch current() {
        case .file(let image):
            posix_fadvise(image.descriptor, off_t(range.lowerBound), off_t(range.count), POSIX_FADV_WILLNEED)
        case .remote(let image), .helped(let image, _):
            let end = min(range.upperBound, image.size, range.lowerBound + Self.longestRun)
            guard range.lowerBound < end else { return }
            let range = range.lowerBound..<end
            var bytes = [UInt8](repeating: 0, count: range.count)
            guard (try? bytes.withUnsafeMutableBytes { try image.read(into: $0, at: range.lowerBound) }) != nil else {
                return
            }
            state.withLockedValue { state in
                state.ahead.append((range, bytes))
                while state.ahead.reduce(0, { $0 + $1.bytes.count }) > Self.mostAhead { state.ahead.removeFirst() }
            }
        case .elsewhere(let reader):
            reader.willRead(table, range, isUrgent: isUrgent)
        case nil:
            return
        }
    }

    private func copyAhead(_ range: Range<UInt64>, to buffer: UnsafeMutableRawBufferPointer) -> Bool {
        state.withLockedValue { state in
            guard
                let part = state.ahead.last(where: {
                    $0.range.lowerBound <= range.lowerBound && range.upperBound <= $0.range.upperBound
                })
            else { return false }
            part.bytes.withUnsafeBytes {
                let start = Int(range.lowerBound - part.range.lowerBound)
                buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: $0[start..<start + range.count]))
            }
            return true
        }
    }

    /// Says that bytes which were read are not those of the table.
    /// - Parameter offset: In the image, in bytes.
    func hasOtherBytes(at offset: UInt64) { owner?.reader.wasStale(table, at: offset) }

    /// Opens the file again at the next use, because another image may be at that path now.
    func forget() {
        state.withLockedValue { state in
            state.ahead = []
            // Keep the connection: the server's address still names the same disk.
            if case .remote = state.opened { return }
            state.opened = nil
        }
    }

    /// Returns nil if no image has the name now. Closes a deleted file, because an open one keeps its space on the
    /// disk.
    private func current() -> Opened? {
        if let owner { return .elsewhere(owner.reader) }
        return state.withLockedValue { state in
            if case .file(let image) = state.opened {
                var info = stat()
                if fstat(image.descriptor, &info) != 0 || info.st_nlink == 0 { state.opened = nil }
            }
            if let opened = state.opened { return opened }
            if let resting = state.resting, .now < resting { return nil }
            state.opened = try? Self.open(name)
            if state.opened == nil, name.first != "/" { state.resting = .now + Self.rest }
            return state.opened
        }
    }

    private static func open(_ name: String) throws -> Opened {
        if NBDClientImage.isURI(name) { return .remote(try NBDClientImage(uri: name, timeoutSeconds: 5)) }
        guard let daemon = try daemon(name) else { return .file(try openFile(name)) }
        return .helped(try NBDClientImage(uri: daemon.uri, timeoutSeconds: 5), daemon)
    }

    /// Opens an image for indexing.
    /// - Parameter name: as `ImageName.existing` makes it.
    static func source(_ name: String) throws -> any ImageSource {
        if NBDClientImage.isURI(name) { return NBDImageSource(try NBDClientImage(uri: name)) }
        if let daemon = try daemon(name) {
            return NBDImageSource(try NBDClientImage(uri: daemon.uri), servedBy: daemon)
        }
        return FileSource(try openFile(name))
    }

    /// Starts the helper that reads an image; nil for a raw image, which needs none. A guest may use the image meanwhile.
    private static func daemon(_ name: String) throws -> StorageDaemon? {
        let (format, path) = ImageName.formatted(name).map { ($0.format as String?, $0.path) } ?? (nil, name)
        guard ImageSpecification.isNeeded(for: path, format: format) else { return nil }
        var options = StorageDaemon.Options(isReadOnly: true)
        options.isShared = true
        return try StorageDaemon.start(
            ImageSpecification(path, format: format), options, in: NSTemporaryDirectory(), report: { _ in })
    }

    /// Checks the file type first: opening a named pipe would wait for a writer.
    private static func openFile(_ path: String) throws -> RawImage {
        var info = stat()
        guard stat(path, &info) == 0 else { throw FileError("open", path) }
        let kind = info.st_mode & S_IFMT
        guard kind == S_IFREG || kind == S_IFBLK else { throw IndexError.notAnImage(path) }
        return try RawImage(path: path, access: .readOnly)
    }
}
