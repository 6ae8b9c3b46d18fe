import Glibc

/// An address on which the server can't listen.
public struct ListenError: Error, CustomStringConvertible {
    let address: ListenAddress
    let reason: String

    init(_ address: ListenAddress, _ reason: String) {
        self.address = address
        self.reason = reason
    }

    init(_ address: ListenAddress, code: CInt) {
        let hint = code == EADDRINUSE ? "; another server has it: stop that one or choose another address" : ""
        self.init(address, String(cString: strerror(code)) + hint)
    }

    /// One line for the user.
    public var description: String { "cannot listen on \(address): \(reason)" }
}
