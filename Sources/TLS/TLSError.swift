import COpenSSL

/// Keys or certificates can't be used.
public struct TLSError: Error, CustomStringConvertible {
    /// One line for the user.
    public let description: String

    init(_ description: String) {
        self.description = description
    }

    /// A key that nobody is there to unlock.
    init(hasPassphrase path: String) {
        description =
            "the key \(path) has a passphrase, and a node has nobody to ask for it; write it without one: "
            + "openssl pkey -in \(path) -out NEW-KEY.pem"
    }

    /// What OpenSSL says of its last failure; forgets it, because the queue is the thread's and not a connection's.
    static func takeReason() -> String {
        let code = ERR_peek_last_error()
        ERR_clear_error()
        guard code != 0, let text = ERR_reason_error_string(code) else { return "no reason given" }
        return String(cString: text)
    }
}
