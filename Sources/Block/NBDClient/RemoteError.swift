import CLibNBD

/// Another NBD server can't be used as a backing.
public struct RemoteError: Error, CustomStringConvertible {
    /// One line for the user.
    public let description: String

    init(_ uri: String, _ problem: String) {
        description = "cannot use \(uri): \(problem)"
    }

    /// With what libnbd says of this thread's last failure.
    static func last(_ uri: String) -> RemoteError {
        RemoteError(uri, nbd_get_error().map { String(cString: $0) } ?? "no reason given")
    }
}
