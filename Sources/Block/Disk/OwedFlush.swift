import Glibc

/// The failed flush that one client is owed after a loss.
///
/// Every client that was connected at the loss gets one, even if it has written nothing. With several connections, a
/// client may flush on one what it has written on another.
public struct OwedFlush: Sendable {
    private let losses: LossCount
    private var seen: UInt64

    /// Starts for a client that connects now.
    public init(_ losses: LossCount) {
        self.losses = losses
        seen = losses.now
    }

    /// Returns the result of a flush for the client.
    /// - Parameter error: the device's result: 0, or an `errno`.
    /// - Returns: `error`, or `EIO` instead of 0 if the client is owed a failure.
    public mutating func outcome(of error: CInt) -> CInt {
        let now = losses.now
        defer { seen = now }
        return error == 0 && seen != now ? EIO : error
    }
}
