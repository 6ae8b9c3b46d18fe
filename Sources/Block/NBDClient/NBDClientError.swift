import CLibNBD
import Glibc

/// A failure to use another NBD server as a backing.
public struct NBDClientError: Error, CustomStringConvertible {
    /// One line for the user.
    public let description: String
    /// The `errno` of the server's answer or of the failed call; 0 if there is none.
    let code: CInt
    /// Whether the connection failed, so that another one may do better.
    private(set) var isOfConnection = false

    init(_ uri: String, _ problem: String, code: CInt = 0) {
        description = "cannot use \(uri): \(problem)"
        self.code = code
    }

    /// Creates an error from this thread's last failure in libnbd.
    static func last(_ uri: String) -> NBDClientError {
        let code = nbd_get_errno()
        let reason = nbd_get_error().map { String(cString: $0) } ?? "no reason given"
        let isAbsent = [ECONNREFUSED, ENOENT, EHOSTUNREACH, ENETUNREACH].contains(code)
        return NBDClientError(
            uri, reason + (isAbsent ? "; check the URI, and that its server runs" : ""), code: code)
    }

    /// The same error, as one of the connection.
    var ofConnection: NBDClientError {
        var error = self
        error.isOfConnection = true
        return error
    }
}
