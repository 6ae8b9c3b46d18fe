import Block
import Hashing

/// An image while it is indexed: a file, a block device, or another NBD server's disk.
protocol ImageSource: Sendable {
    /// Bytes; does not change.
    var size: UInt64 { get }
    /// Bytes a read that suit it.
    var preferredRead: Int { get }
    /// Threads that may well wait for it at once beyond those that hash.
    var extraReaders: Int { get }
    /// The image's file and when it changed.
    func stamp() throws -> ImageStamp
    /// Who the image is; nil where nothing tells it from others.
    func identity() throws -> ImageIdentity?
    /// The next range at or after `offset` that may hold data; nil where only holes follow.
    func nextData(from offset: UInt64) throws -> Range<UInt64>?
    /// Begins to read a range that will soon be asked for.
    /// - Returns: what has to be given to `release` afterwards.
    func readAhead(_ range: Range<UInt64>) -> [Range<UInt64>]
    /// Fills `buffer` from `offset` on.
    func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws
    /// What was read ahead will not be read again.
    func release(_ ranges: [Range<UInt64>])
}

extension ImageSource {
    /// Who the image is, as a table's header says it; nil where nothing tells it from others.
    func identityDigest() throws -> [UInt8]? {
        try identity().map { identity in
            let hash = SHA256Stream()
            Array(identity.key.utf8).withUnsafeBytes { hash.update($0) }
            return hash.finish()
        }
    }

    /// Whether a table is about this very image.
    /// - Returns: nil where that can't be told.
    func isImage(of header: TableHeader) throws -> Bool? {
        guard let known = header.identityDigest, let digest = try identityDigest() else { return nil }
        return known == digest
    }

    /// Whether nobody has written the image since a table was made of it, as far as can be told.
    func isUnchanged(since header: TableHeader) throws -> Bool {
        let now = try stamp()
        // What a block device or another server holds may have changed unseen.
        guard now.inode != 0 else { return false }
        guard let isImage = try isImage(of: header) else { return now == header.stamp }
        // A device number may be another one after each start.
        return isImage && now.inode == header.stamp.inode && now.size == header.stamp.size
            && now.modified == header.stamp.modified
    }
}
