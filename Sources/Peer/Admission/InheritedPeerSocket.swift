import Glibc
import PeerModel

/// A socket for peers that a service manager has passed on.
public enum InheritedPeerSocket {
    /// Returns the address on which a socket listens. The socket is closed in programs that this one starts.
    /// - Throws: `PeerError` if it is no TCP socket that listens.
    public static func address(of descriptor: CInt) throws -> PeerAddress {
        var name = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        let code = withUnsafeMutablePointer(to: &name) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(descriptor, $0, &length) }
        }
        let unknown = PeerAddress(host: "inherited socket \(descriptor)", port: 0)
        guard code == 0 else { throw PeerError.cannotListen(unknown, reason: String(cString: strerror(errno))) }
        guard [AF_INET, AF_INET6].contains(CInt(name.ss_family)), isListening(descriptor) else {
            throw PeerError.cannotListen(
                unknown, reason: "it is no TCP socket that listens; check the ListenStream= of its unit")
        }
        _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
        return try address(in: &name, length, else: unknown)
    }

    private static func isListening(_ descriptor: CInt) -> Bool {
        var value: CInt = 0
        var length = socklen_t(MemoryLayout<CInt>.size)
        return getsockopt(descriptor, SOL_SOCKET, SO_ACCEPTCONN, &value, &length) == 0 && value == 1
    }

    private static func address(
        in name: inout sockaddr_storage, _ length: socklen_t, else unknown: PeerAddress
    ) throws -> PeerAddress {
        var host = [CChar](repeating: 0, count: Int(NI_MAXHOST))
        let port = withUnsafeMutablePointer(to: &name) {
            // IPv4 and IPv6 addresses hold the port at the same offset.
            $0.withMemoryRebound(to: sockaddr_in.self, capacity: 1) { UInt16(bigEndian: $0.pointee.sin_port) }
        }
        let code = withUnsafePointer(to: &name) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                getnameinfo($0, length, &host, socklen_t(host.count), nil, 0, NI_NUMERICHOST)
            }
        }
        guard code == 0 else { throw PeerError.cannotListen(unknown, reason: String(cString: gai_strerror(code))) }
        let bytes = host.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }
        return PeerAddress(host: String(decoding: bytes, as: UTF8.self), port: port)
    }
}
