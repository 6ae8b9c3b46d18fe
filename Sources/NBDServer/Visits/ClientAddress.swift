import CLinux
import Glibc

/// The other end of a client's connection.
public enum ClientAddress: Sendable, Equatable, CustomStringConvertible {
    /// An address and port, as in `192.0.2.1:50000` and `[2001:db8::1]:50000`.
    case tcp(String)
    /// A process of this host, as the kernel knew it when it connected; unix(7), SO_PEERCRED.
    case unix(process: Int32, user: UInt32)
    /// A virtual machine or this host; vsock(7).
    case vsock(context: UInt32, port: UInt32)
    /// None that the kernel knows.
    case unknown

    private static let vsockFamily: sa_family_t = 40

    /// Asks the kernel for the other end of a connected socket.
    init(socket: CInt) {
        var name = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        let isKnown = withUnsafeMutablePointer(to: &name) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { getpeername(socket, $0, &length) }
        }
        guard isKnown == 0 else {
            self = .unknown
            return
        }
        switch name.ss_family {
        case sa_family_t(AF_INET), sa_family_t(AF_INET6): self = Self.tcp(&name, length)
        case sa_family_t(AF_UNIX): self = Self.unix(socket)
        case Self.vsockFamily:
            // struct sockaddr_vm, which Glibc does not show: family and a reserved field of 2 bytes each, port, context.
            self = withUnsafeBytes(of: &name) {
                .vsock(
                    context: $0.loadUnaligned(fromByteOffset: 8, as: UInt32.self),
                    port: $0.loadUnaligned(fromByteOffset: 4, as: UInt32.self))
            }
        default: self = .unknown
        }
    }

    private static func tcp(_ name: inout sockaddr_storage, _ length: socklen_t) -> ClientAddress {
        var host = [CChar](repeating: 0, count: Int(NI_MAXHOST))
        var port = [CChar](repeating: 0, count: Int(NI_MAXSERV))
        let code = withUnsafePointer(to: &name) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                getnameinfo(
                    $0, length, &host, socklen_t(host.count), &port, socklen_t(port.count),
                    NI_NUMERICHOST | NI_NUMERICSERV)
            }
        }
        guard code == 0 else { return .unknown }
        let (hostText, portText) = (text(host), text(port))
        return .tcp(hostText.contains(":") ? "[\(hostText)]:\(portText)" : "\(hostText):\(portText)")
    }

    private static func text(_ characters: [CChar]) -> String {
        String(decoding: characters.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    private static func unix(_ socket: CInt) -> ClientAddress {
        var process: Int32 = 0
        var user: UInt32 = 0
        return linux_peer_process(socket, &process, &user) == 0 ? .unix(process: process, user: user) : .unknown
    }

    /// The address as a log shows it.
    public var description: String {
        switch self {
        case .tcp(let text): text
        case .unix(let process, let user): "unix:pid:\(process),uid:\(user)"
        case .vsock(let context, let port): "vsock:\(context):\(port)"
        case .unknown: "unknown"
        }
    }
}
