/// Reads an incoming disk from the node that has it. Each call is answered once, or never if the switchover comes
/// first.
public protocol IncomingReader: AnyObject, Sendable {
    /// Reads bytes as they are at some moment after the call. `finish` is called from any thread, with 0 or an `errno`
    /// and the bytes.
    func read(offset: UInt64, length: Int, finish: @escaping @Sendable (CInt, UnsafeRawBufferPointer) -> Void)

    /// Makes durable everything that was written there before the call. `finish` is called from any thread, with 0 or
    /// an `errno`.
    func flush(finish: @escaping @Sendable (CInt) -> Void)
}
