import Block
import Glibc
import Index

/// Compares the published tables of this host with those of its index, a few MiB in each turn: the store may have damaged
/// them. It goes round all of them again and again.
struct PublishedCheck: Sendable {
    /// Bytes that are compared in one turn. Many hosts read the same store.
    static let bytesPerTurn = 8 << 20
    private static let piece = 1 << 20

    /// The table that is being compared, and how far; nil to begin with the first.
    private var position: (name: String, offset: UInt64)?

    /// Compares the next bytes.
    /// - Parameters:
    ///   - names: The tables that are published, sorted.
    ///   - published: The files of this host in the store.
    ///   - folder: Path of their folder, if the store is one.
    ///   - isWanted: Asked before each piece whether to go on.
    /// - Returns: Names of tables that differ.
    mutating func run(
        _ names: [String], index: String, published: [String: SiteFolderEntry], folder: String, isWanted: () -> Bool
    ) -> [String] {
        var damaged: [String] = []
        var budget = Self.bytesPerTurn
        var rest = names.drop { $0 < position?.name ?? "" }
        if rest.first != position?.name { position = nil }
        while budget > 0, let name = rest.first, isWanted() {
            let start = position?.offset ?? 0
            let ours = { Self.read("\(index)/\(name)", start, into: $0, isShared: false) }
            let theirs = { Self.read(published[name], "\(folder)/\(name)", start, into: $0) }
            switch Self.compare(ours, theirs) {
            case .equal(let count):
                budget -= count
                position = (name, start + UInt64(count))
                if count == Self.piece { continue }
            case .different:
                damaged.append(name)
            case .unknown:
                break
            }
            rest = rest.dropFirst()
            position = rest.first.map { ($0, 0) }
        }
        if rest.isEmpty { position = nil }
        return damaged
    }

    private enum Answer {
        /// So many bytes; fewer than a piece at the end.
        case equal(Int)
        case different
        /// One of them can't be read now.
        case unknown
    }

    private enum Piece: Equatable {
        /// So many bytes; fewer than asked for at the end.
        case read(Int)
        /// The store has answered that it lacks them.
        case missing
        /// It can't be read now.
        case unknown
    }

    private static func compare(
        _ ours: (UnsafeMutableRawBufferPointer) -> Piece, _ theirs: (UnsafeMutableRawBufferPointer) -> Piece
    ) -> Answer {
        withUnsafeTemporaryAllocation(byteCount: 2 * piece, alignment: 4096) { buffer in
            let here = UnsafeMutableRawBufferPointer(rebasing: buffer[..<piece])
            let there = UnsafeMutableRawBufferPointer(rebasing: buffer[piece...])
            guard case .read(let count) = ours(here) else { return .unknown }
            switch theirs(there) {
            case .read(count) where memcmp(here.baseAddress!, there.baseAddress!, count) == 0: return .equal(count)
            case .read, .missing: return .different
            case .unknown: return .unknown
            }
        }
    }

    /// Reads bytes of a published table.
    /// - Parameter path: Its path, if the store is a folder.
    private static func read(
        _ entry: SiteFolderEntry?, _ path: String, _ offset: UInt64, into buffer: UnsafeMutableRawBufferPointer
    ) -> Piece {
        guard let stored = entry?.stored else { return read(path, offset, into: buffer, isShared: true) }
        let count = Int(min(UInt64(buffer.count), stored.size - min(offset, stored.size)))
        let part = UnsafeMutableRawBufferPointer(rebasing: buffer[..<count])
        if stored.read(into: part, at: offset) { return .read(count) }
        return stored.isDamaged ? .missing : .unknown
    }

    /// - Parameter isShared: Whether the store may hold other bytes by now than this host's page cache.
    private static func read(
        _ path: String, _ offset: UInt64, into buffer: UnsafeMutableRawBufferPointer, isShared: Bool
    ) -> Piece {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW)
        guard descriptor >= 0 else { return .unknown }
        defer { close(descriptor) }
        if isShared { posix_fadvise(descriptor, off_t(offset), off_t(buffer.count), POSIX_FADV_DONTNEED) }
        var count = 0
        while count < buffer.count {
            let place = off_t(offset) + off_t(count)
            let read = pread(descriptor, buffer.baseAddress! + count, buffer.count - count, place)
            guard read >= 0 else { return .unknown }
            if read == 0 { break }
            count += read
        }
        return .read(count)
    }
}
