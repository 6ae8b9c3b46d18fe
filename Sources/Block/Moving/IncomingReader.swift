/// Asks the node that has a disk which is to come here. What is asked is answered once, or never where the disk is
/// handed over first.
public protocol IncomingReader: AnyObject, Sendable {
    /// Reads bytes as they are at some moment after the call. `finish` is called from any thread, with 0 or an `errno`
    /// and the bytes.
    func read(offset: UInt64, length: Int, finish: @escaping @Sendable (CInt, UnsafeRawBufferPointer) -> Void)

    /// Makes durable what was written there before the call. `finish` is called from any thread, with 0 or an `errno`.
    func flush(finish: @escaping @Sendable (CInt) -> Void)
}
