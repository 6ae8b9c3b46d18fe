import Glibc

/// Parses a TCP port, given by number or by service name; services(5).
enum ServicePort {
    /// Returns nil if there is no such port.
    static func number(_ text: String) -> UInt16? {
        if let number = UInt16(text) { return number }
        // getaddrinfo(3) would accept larger numbers and keep their lowest 16 bits.
        guard text.utf8.allSatisfy({ (0x21...0x7e).contains($0) }), text.contains(where: \.isLetter) else { return nil }
        var hints = addrinfo()
        hints.ai_socktype = CInt(SOCK_STREAM.rawValue)
        hints.ai_family = AF_INET
        var found: UnsafeMutablePointer<addrinfo>?
        guard getaddrinfo(nil, text, &hints, &found) == 0, let found else { return nil }
        defer { freeaddrinfo(found) }
        return found.pointee.ai_addr.withMemoryRebound(to: sockaddr_in.self, capacity: 1) {
            UInt16(bigEndian: $0.pointee.sin_port)
        }
    }
}
