import NIOConcurrencyHelpers

/// The images of this host's index, as other hosts of the site read them. Any thread may use it.
package final class LentImages: Sendable {
    private struct Entry: Sendable {
        let table: Table
        let image: NeighbourImage
    }

    private struct State {
        /// By the 16 bytes that name the table.
        var entries: [[UInt8]: Entry] = [:]
        /// The next time to look at the directory; nil at once.
        var next: ContinuousClock.Instant?
    }

    /// The time after which the directory is looked at again: images come and go.
    private static let keptFor = Duration.seconds(10)

    private let place: IndexDirectory
    private let state = NIOLockedValueBox(State())

    /// - Parameter directory: Path of the index.
    package init(directory: String) {
        place = IndexDirectory(path: directory)
    }

    /// Reads bytes of an image.
    /// - Parameter table: The 16 bytes that name the image's table.
    /// - Returns: The number of bytes, fewer than asked for at the end of the image. 0 if no such image is in the index, or
    ///   it can't be read.
    package func read(_ table: [UInt8], into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) -> Int {
        refresh()
        guard let entry = state.withLockedValue({ $0.entries[table] }), offset < entry.table.header.imageSize else {
            return 0
        }
        let count = Int(min(UInt64(buffer.count), entry.table.header.imageSize - offset))
        return entry.image.read(into: .init(rebasing: buffer[..<count]), at: offset, isUrgent: false) ? count : 0
    }

    /// Opens tables that are new. Others go on using the old ones meanwhile.
    private func refresh() {
        let entries: [[UInt8]: Entry]? = state.withLockedValue { state in
            if let next = state.next, .now < next { return nil }
            state.next = .now + Self.keptFor
            return state.entries
        }
        guard let entries, let settings = try? IndexSettings.read(from: place), let files = try? place.files() else {
            return
        }
        let kept = entries.values.filter(\.table.file.isInPlace)
        let current = Dictionary(kept.map { ($0.table.file.path, $0) }) { first, _ in first }
        var opened: [[UInt8]: Entry] = [:]
        for file in files where file.hasSuffix(IndexFileName.tableSuffix) {
            let path = place.path(of: file)
            if let entry = current[path] {
                opened[entry.table.key.file] = entry
            } else if let table = try? Table(path: path, blockSize: settings.blockSize, check: .resident) {
                opened[table.key.file] = Entry(table: table, image: NeighbourImage(of: table))
            }
        }
        state.withLockedValue { $0.entries = opened }
    }
}
