import COpenSSL
import Glibc

/// Keys or certificates can't be used.
public struct TLSError: Error, CustomStringConvertible {
    /// One line for the user.
    public let description: String

    init(_ description: String) {
        self.description = description
    }

    /// OpenSSL has refused a file, just now on this thread.
    init(cannotUse what: String, _ path: String) {
        let reason = Self.takeReason()
        self.init("cannot use the \(what) \(path): \(reason); check that it is there, readable and PEM")
    }

    /// A key that nobody is there to unlock.
    init(hasPassphrase path: String) {
        self.init(
            "the key \(path) has a passphrase, and a node has nobody to ask for it; write it without one: "
                + "openssl pkey -in \(path) -out NEW-KEY.pem")
    }

    /// OpenSSL's oldest reason, which names the cause; those after it only say which steps failed for it. Empties the queue,
    /// because that is the thread's and not a connection's.
    static func takeReason() -> String {
        let code = ERR_peek_error()
        ERR_clear_error()
        return reason(of: code)
    }

    /// The text of an entry of OpenSSL's error queue.
    static func reason(of code: UInt) -> String {
        // OpenSSL has no texts for the kernel's errors.
        if ERR_GET_LIB(code) == ERR_LIB_SYS { return String(cString: strerror(ERR_GET_REASON(code))) }
        guard code != 0, let text = ERR_reason_error_string(code) else { return "no reason given" }
        return String(cString: text)
    }
}
