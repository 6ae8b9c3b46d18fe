/// The host that a client means to reach; the server's certificate must name it.
public enum TLSName: Sendable, Hashable, CustomStringConvertible {
    /// A DNS name; the client also tells it to the server (SNI).
    case host(String)
    /// An IP address in network byte order, 4 or 16 bytes; it is not told to the server, because SNI has no addresses.
    case address([UInt8])

    /// One line for the user.
    public var description: String {
        switch self {
        case .host(let name): name.debugDescription
        case .address(let bytes): bytes.map { String($0) }.joined(separator: ".")
        }
    }
}
