/// Reads the neighbours of another host. Any thread may use it.
package protocol NeighbourReader: AnyObject, Sendable {
    /// Fills `buffer` with bytes of an image; blocks until they have come.
    /// - Parameters:
    ///   - table: The 16 bytes that name the image's table.
    ///   - offset: In the image, in bytes.
    ///   - isUrgent: Whether a client waits for them: what was asked for ahead of use must not stand before them.
    /// - Returns: False if the other host does not have them, or does not answer.
    func read(
        _ table: [UInt8], into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64, isUrgent: Bool
    ) -> Bool

    /// Asks for bytes that will be read soon; returns at once.
    /// - Parameter isUrgent: As in `read`.
    func willRead(_ table: [UInt8], _ range: Range<UInt64>, isUrgent: Bool)

    /// How long a read of a few blocks would take now; nil while the other host is not asked, because it has failed.
    var expectedWait: Duration? { get }

    /// Says that bytes which `read` gave were not those of the table: they must not be given again.
    func wasStale(_ table: [UInt8], at offset: UInt64)
}
