import Foundation

/// Finds out whether a TCP port could be listened on. Nobody can connect meanwhile.
enum PortProbe {
    /// - Parameter host: A name or address; empty for all addresses.
    /// - Returns: The error number; nil if the port is free.
    static func problem(host: String, port: UInt16) -> CInt? {
        var hints = addrinfo()
        hints.ai_socktype = CInt(SOCK_STREAM.rawValue)
        hints.ai_flags = AI_PASSIVE
        var found: UnsafeMutablePointer<addrinfo>?
        guard getaddrinfo(host.isEmpty ? nil : host, String(port), &hints, &found) == 0 else { return EADDRNOTAVAIL }
        defer { freeaddrinfo(found) }
        var next = found
        while let address = next?.pointee {
            if let problem = problem(address) { return problem }
            next = address.ai_next
        }
        return nil
    }

    private static func problem(_ address: addrinfo) -> CInt? {
        let descriptor = socket(address.ai_family, address.ai_socktype | CInt(SOCK_CLOEXEC.rawValue), 0)
        // A machine without IPv6 has no such socket, and needs none.
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var yes: CInt = 1
        setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &yes, socklen_t(MemoryLayout<CInt>.size))
        if address.ai_family == AF_INET6 {
            setsockopt(descriptor, CInt(IPPROTO_IPV6), IPV6_V6ONLY, &yes, socklen_t(MemoryLayout<CInt>.size))
        }
        return bind(descriptor, address.ai_addr, address.ai_addrlen) == 0 ? nil : errno
    }
}
