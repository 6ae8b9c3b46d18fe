import Block
import BlockModel
import Hashing

/// An image that is being indexed: a file, a block device, or another NBD server's disk. Any thread may use it.
protocol ImageSource: Sendable {
    /// Size in bytes; constant.
    var size: UInt64 { get }
    /// Bytes in a read that suit this kind of image.
    var preferredRead: Int { get }
    /// Threads that may wait for it in addition to those that hash.
    var extraReaders: Int { get }
    /// The open file; nil if the image is none.
    var descriptor: CInt? { get }
    /// Returns the image's device, inode, size and time of last change; inode 0 if changes can't be seen.
    func stamp() throws -> ImageStamp
    /// Returns the image's identity; nil if nothing tells it from other images.
    func identity() throws -> ImageIdentity?
    /// Returns the next range at or after `offset` that may hold data; nil if only holes follow.
    func nextData(from offset: UInt64) throws -> Range<UInt64>?
    /// Begins to read a range that will soon be asked for.
    /// - Returns: the ranges to pass to `release` afterwards.
    func readAhead(_ range: Range<UInt64>) -> [Range<UInt64>]
    /// Fills `buffer` from byte `offset` on.
    func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws
    /// Drops ranges that were read ahead and will not be read again.
    func release(_ ranges: [Range<UInt64>])
}

extension ImageSource {
    var descriptor: CInt? { nil }

    /// Returns the origins of the image's blocks; none if it is no file, nil if they can't be found now.
    /// - Parameter findPlaces: Finds where blocks should begin; nil for nowhere.
    func origins(blockSize: Int, _ findPlaces: IndexStore.PlaceFinder?) -> [UInt64]? {
        guard let findPlaces, let descriptor else { return [] }
        guard let places = findPlaces(descriptor) else { return nil }
        return GridLayout.origins(for: places, diskSize: size, blockSize: blockSize)
    }

    /// Returns the hash of the identity, as in a table's header; nil if nothing tells the image from others.
    func identityDigest() throws -> [UInt8]? {
        try identity().map { identity in
            let hash = SHA256Stream()
            Array(identity.key.utf8).withUnsafeBytes { hash.update($0) }
            return hash.finish()
        }
    }

    /// Returns whether a table was made of this very image; nil if that can't be told.
    func isImage(of header: TableHeader) throws -> Bool? {
        guard let known = header.identityDigest, let digest = try identityDigest() else { return nil }
        return known == digest
    }

    /// Returns whether the image is provably unchanged since a table was made of it.
    func isUnchanged(since header: TableHeader) throws -> Bool {
        let now = try stamp()
        // A block device or another server may change without a trace.
        guard now.inode != 0 else { return false }
        guard let isImage = try isImage(of: header) else { return now == header.stamp }
        // A restart may give the device another number, so it is not compared.
        return isImage && now.inode == header.stamp.inode && now.size == header.stamp.size
            && now.modified == header.stamp.modified
    }
}
