import CLibNBD

/// A failure to use another NBD server as a backing.
public struct NBDClientError: Error, CustomStringConvertible {
    /// One line for the user.
    public let description: String

    init(_ uri: String, _ problem: String) {
        description = "cannot use \(uri): \(problem)"
    }

    /// Creates an error from this thread's last failure in libnbd.
    static func last(_ uri: String) -> NBDClientError {
        NBDClientError(uri, nbd_get_error().map { String(cString: $0) } ?? "no reason given")
    }
}
