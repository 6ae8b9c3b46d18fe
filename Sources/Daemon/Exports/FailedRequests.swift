/// How many requests for an export its device has failed in one way, since the node began to serve it.
public struct FailedRequests: Codable, Sendable {
    /// `read`, `write`, `flush`, `trim`, `writeZeroes`, `cache` or `status`.
    public var request: String
    /// `EIO`, `ENOSPC` and so on.
    public var error: String
    /// At least 1.
    public var count: UInt64
}
