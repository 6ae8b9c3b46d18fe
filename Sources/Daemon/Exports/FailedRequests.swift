/// Count of an export's requests that failed on the device with one error, since the node began to serve it.
public struct FailedRequests: Codable, Sendable {
    /// `read`, `write`, `flush`, `trim`, `writeZeroes`, `cache` or `status`.
    public var request: String
    /// Name of the error, such as `EIO` or `ENOSPC`.
    public var error: String
    /// Number of requests; at least 1.
    public var count: UInt64
}
