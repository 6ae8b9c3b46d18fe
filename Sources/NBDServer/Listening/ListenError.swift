import Glibc

/// An address on which the server can't listen.
public struct ListenError: Error, CustomStringConvertible {
    let address: ListenAddress
    /// The words behind the address in the message.
    package let reason: String
    /// Whether another socket has the address.
    package let isInUse: Bool

    init(_ address: ListenAddress, _ reason: String, isInUse: Bool = false) {
        self.address = address
        self.reason = reason
        self.isInUse = isInUse
    }

    init(_ address: ListenAddress, code: CInt) {
        let hint = code == EADDRINUSE ? "; another server has it: stop that one or choose another address" : ""
        self.init(address, String(cString: strerror(code)) + hint, isInUse: code == EADDRINUSE)
    }

    /// One line for the user.
    public var description: String { "cannot listen on \(address): \(reason)" }
}
