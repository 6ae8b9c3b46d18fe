/// A file of a site's store that this host reads by ranges. Its bytes never change. Any thread may use it.
package protocol StoredFile: AnyObject, Sendable {
    /// In bytes.
    var size: UInt64 { get }
    /// Bytes that the store keeps of it.
    var allocated: UInt64 { get }
    /// Tells the file from others that had the same name.
    var version: String { get }

    /// Whether the store has answered that it lacks bytes of the file.
    var isDamaged: Bool { get }

    /// Asks the store whether it has the next part of the file; calls go round the file. A host does not read again what it
    /// has in memory. Blocks for a bounded time.
    func checkNext()

    /// Fills `buffer`; blocks for a bounded time.
    /// - Returns: False if the store does not have the bytes, or does not answer.
    func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) -> Bool

    /// Returns the next range at or after `offset` that may hold other bytes than zeros; nil if none follows.
    func nextData(from offset: UInt64) -> Range<UInt64>?
}
