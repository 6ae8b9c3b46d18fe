import Block

/// An image while it is indexed: a file, a block device, or another NBD server's disk.
protocol ImageSource: Sendable {
    /// Bytes; does not change.
    var size: UInt64 { get }
    /// Bytes a read that suit it.
    var preferredRead: Int { get }
    /// Threads that may well wait for it at once beyond those that hash.
    var extraReaders: Int { get }
    /// Who the image is and when it changed.
    func stamp() throws -> ImageStamp
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
