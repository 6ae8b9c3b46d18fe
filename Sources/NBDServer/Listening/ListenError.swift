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
        self.init(
            address, String(cString: strerror(code)) + Self.remedy(of: code), isInUse: code == EADDRINUSE)
    }

    private static func remedy(of code: CInt) -> String {
        switch code {
        case EADDRINUSE: "; another server has it: stop that one or choose another address"
        case EADDRNOTAVAIL: "; choose an address of this machine, or :PORT for all of them"
        case ENOENT, ENOTDIR: "; make the directory, or choose another path"
        case EACCES, EPERM: "; user \(geteuid()), who runs this, may not: choose another address, or run it as root"
        case EROFS: "; choose a path that is not read-only"
        default: ""
        }
    }

    /// One line for the user.
    public var description: String { "cannot listen on \(address): \(reason)" }
}
