import Synchronization

/// Bytes that have crossed a socket, in both directions.
public final class Traffic: Sendable {
    private let sentBytes = Atomic<UInt64>(0)
    private let receivedBytes = Atomic<UInt64>(0)

    /// Starts both counts at 0.
    public init() {}

    /// Bytes handed to the socket.
    public var sent: UInt64 { sentBytes.load(ordering: .relaxed) }
    /// Bytes taken from the socket.
    public var received: UInt64 { receivedBytes.load(ordering: .relaxed) }

    func addSent(_ count: Int) { sentBytes.add(UInt64(count), ordering: .relaxed) }
    func addReceived(_ count: Int) { receivedBytes.add(UInt64(count), ordering: .relaxed) }
}
