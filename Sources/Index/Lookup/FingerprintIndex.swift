import BlockModel
import Hashing

/// Finds blocks of a few disks by their fingerprints, which the caller holds and goes on changing.
///
/// Its answers are advice: a place had the fingerprint at the moment of the lookup. A block that has changed since
/// the index was built is a miss, until another index is built.
///
/// Beyond page cache it uses at most 1/16 byte of memory for each block that is not zero. A mapped file without a name has
/// at most 8 bytes for each. Building takes at most 48 MiB for each thread, and gives them back. Any thread may use it.
package final class FingerprintIndex: Sendable {
    /// A block of one of the disks.
    package struct Place: Hashable, Sendable {
        /// The position in the disks that the index was built of.
        package let disk: Int
        /// The block's number on that disk, from 0.
        package let block: UInt64

        /// Creates a place; nothing is checked.
        package init(disk: Int, block: UInt64) {
            self.disk = disk
            self.block = block
        }
    }

    private let disks: [any FingerprintSource]
    /// Nil if there are no disks.
    let catalogue: Catalogue?

    /// Reads all fingerprints and sorts them; blocks for as long as that takes.
    /// - Parameters:
    ///   - disks: Kept as long as this object, and read by every lookup.
    ///   - directory: The place of the scratch files. They have no names there, so a killed process leaves none.
    ///   - threads: Threads that read and sort; at least 1. They have the priority of the caller.
    ///   - isWanted: Asked now and then, on any thread, whether to go on.
    /// - Throws: `CancellationError` once `isWanted` returns false; errors of the disks; `FileError`, with `ENOSPC` if
    ///   the directory has no room for 24 bytes a block; `IndexError.tooManyFingerprints`.
    package convenience init(
        of disks: [any FingerprintSource], directory: String, threads: Int,
        isWanted: @escaping @Sendable () -> Bool = { true }
    ) throws {
        let place = IndexDirectory(path: directory)
        try self.init(of: disks, in: place, file: ScratchFile(in: place), threads: threads, isWanted: isWanted)
    }

    /// - Parameter file: Gets the catalogue's entries.
    init(
        of disks: [any FingerprintSource], in directory: IndexDirectory, file: ScratchFile, threads: Int,
        isWanted: @escaping @Sendable () -> Bool = { true }
    ) throws {
        self.disks = disks
        guard let most = disks.map(\.blockCount).max() else {
            catalogue = nil
            return
        }
        guard most <= TableHeader.maximumBlocks, CatalogueHeader.fits(tables: disks.count, maximumBlocks: most) else {
            throw IndexError.tooManyFingerprints
        }
        // The block size is only written into files that outlive the process.
        let builder = CatalogueBuilder(
            directory: directory, blockSize: BlockGeometry.standardBlockSize, sources: disks, threads: threads,
            isWanted: isWanted)
        let (header, starts) = try builder.writeEntries { try file.write($0, at: $1) }
        try file.setSize(header.fileSize)
        catalogue = Catalogue(header: header, starts: starts, file: try file.mapped())
    }

    /// Finds a place for each fingerprint; nil if no disk has it, and always for `.zero` and `.unknown`.
    ///
    /// Pass fingerprints of consecutive pages of memory, a few dozen or more at once. If several blocks have a
    /// fingerprint, the answer prefers the one that makes a run with its neighbours in the batch. A disk that can't be
    /// read gives misses.
    /// - Parameter place: The answer for the page before the first; the first page preferably continues it.
    package func lookUp(_ fingerprints: [Fingerprint], after place: Place? = nil) -> [Place?] {
        guard let catalogue else { return [Place?](repeating: nil, count: fingerprints.count) }
        var lookup = RunLookup(fingerprints, after: place, in: catalogue, of: disks)
        return lookup.run()
    }
}
