import Glibc

/// The failed flush that one client is owed after a loss that it was there for.
///
/// Every client that is there is told, once, also one that has written nothing itself: with several connections, a client may
/// flush on one what it has written on another.
public struct OwedFlush: Sendable {
    private let losses: LossCount
    private var seen: UInt64

    /// Begins for a client that comes now.
    public init(_ losses: LossCount) {
        self.losses = losses
        seen = losses.now
    }

    /// Tells how a flush of the client ends.
    /// - Parameter error: how it ended at the device: 0, or an `errno`.
    /// - Returns: `error`; `EIO` in the place of 0 where the client is owed a failure.
    public mutating func outcome(of error: CInt) -> CInt {
        let now = losses.now
        defer { seen = now }
        return error == 0 && seen != now ? EIO : error
    }
}
