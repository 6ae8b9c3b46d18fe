/// Reads from the node that has a disk which is to come here.
public protocol IncomingReader: AnyObject, Sendable {
    /// Reads bytes as they are at some moment after the call. `finish` is called once, from any thread, with 0 or an
    /// `errno` and the bytes, or never where the disk is handed over first.
    func read(offset: UInt64, length: Int, finish: @escaping @Sendable (CInt, UnsafeRawBufferPointer) -> Void)
}
