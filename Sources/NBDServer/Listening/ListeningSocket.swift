import Block
import CLinux
import Glibc

/// Opens the sockets on which a server listens.
enum ListeningSocket {
    /// The largest queue that the system allows: beyond it, the kernel turns away clients that do not wait.
    static let backlog = CInt(SOMAXCONN)
    private static let triesForOnePort = 16
    /// The kernel frees the ring of a killed process, and with it the sockets, some time after the process has been
    /// reaped. This takes tens of milliseconds, and more on a busy machine (Linux 6.18, 2026-11-29).
    private static let triesForFormerLife = 20
    /// Microseconds.
    private static let pauseBetweenTries: useconds_t = 50_000

    /// Opens, binds and listens.
    /// - Parameter permissions: the permissions of a Unix socket.
    /// - Returns: one descriptor for each address that a host name stands for, and the bound address with its actual
    ///   port.
    static func open(_ address: ListenAddress, _ permissions: FilePermissions) throws -> ([CInt], ListenAddress) {
        switch address {
        case .unix(let path):
            let isPrivate = permissions != FilePermissions()
            return ([try UnixListener.open(at: path, permissions: permissions, isPrivate: isPrivate)], address)
        case .tcp(let host, let port): return try openTCP(host, port, for: address)
        case .vsock(let port): return ([try openVirtual(port, address)], address)
        case .inherited(let descriptor):
            try check(descriptor, address)
            return ([descriptor], address)
        }
    }

    private static func openTCP(_ host: String, _ port: UInt16, for address: ListenAddress) throws -> (
        [CInt], ListenAddress
    ) {
        var hints = addrinfo()
        hints.ai_socktype = CInt(SOCK_STREAM.rawValue)
        hints.ai_flags = AI_PASSIVE
        var found: UnsafeMutablePointer<addrinfo>?
        let code = getaddrinfo(host.isEmpty ? nil : host, String(port), &hints, &found)
        guard code == 0, let found else {
            throw ListenError(
                address,
                "\(String(cString: gai_strerror(code))); choose an address of this machine, or :PORT for all of them")
        }
        defer { freeaddrinfo(found) }
        for _ in 1..<(port == 0 ? triesForOnePort : triesForFormerLife) {
            do { return bound(try openAll(found, port, for: address), host) } catch let error as ListenError
                where error.isInUse
            {
                // A port that is free at one address may be taken at another. The error of the last try goes to the user.
                if port != 0 { usleep(pauseBetweenTries) }
            }
        }
        return bound(try openAll(found, port, for: address), host)
    }

    private static func bound(_ descriptors: [CInt], _ host: String) -> ([CInt], ListenAddress) {
        (descriptors, .tcp(host: host, port: boundPort(descriptors[0])))
    }

    /// Opens a socket for each address that this machine has, all with one port.
    private static func openAll(
        _ found: UnsafeMutablePointer<addrinfo>, _ port: UInt16, for address: ListenAddress
    ) throws -> [CInt] {
        var descriptors: [CInt] = []
        do {
            for candidate in sequence(first: found, next: { $0.pointee.ai_next }) {
                // Further addresses of the name get the port that the kernel chose for the first one.
                let port = descriptors.first.map(boundPort) ?? port
                if let descriptor = try openTCP(candidate.pointee, port, for: address) {
                    descriptors.append(descriptor)
                }
            }
        } catch {
            for descriptor in descriptors { close(descriptor) }
            throw error
        }
        guard !descriptors.isEmpty else { throw ListenError(address, code: EADDRNOTAVAIL) }
        return descriptors
    }

    /// Opens one address.
    /// - Returns: nil if this machine does not have the address or its family.
    private static func openTCP(_ candidate: addrinfo, _ port: UInt16, for address: ListenAddress) throws
        -> CInt?
    {
        let descriptor = socket(
            candidate.ai_family, CInt(SOCK_STREAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else {
            if errno == EAFNOSUPPORT { return nil }
            throw ListenError(address, code: errno)
        }
        var on: CInt = 1
        let length = socklen_t(MemoryLayout<CInt>.size)
        setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &on, length)
        // IPv4 gets a socket of its own.
        if candidate.ai_family == AF_INET6 { setsockopt(descriptor, CInt(IPPROTO_IPV6), IPV6_V6ONLY, &on, length) }
        var name = sockaddr_storage()
        memcpy(&name, candidate.ai_addr, Int(candidate.ai_addrlen))
        setPort(port, in: &name)
        guard bindAndListen(descriptor, &name, length: candidate.ai_addrlen) else {
            let code = errno
            close(descriptor)
            if code == EADDRNOTAVAIL { return nil }
            throw ListenError(address, code: code)
        }
        return descriptor
    }

    private static func openVirtual(_ port: UInt32, _ address: ListenAddress) throws -> CInt {
        let descriptor = linux_listen_vsock(port, backlog)
        guard descriptor >= 0 else {
            if errno == EAFNOSUPPORT || errno == ENODEV { throw ListenError(address, "this kernel has no vsock") }
            throw ListenError(address, code: errno)
        }
        return descriptor
    }

    private static func check(_ descriptor: CInt, _ address: ListenAddress) throws {
        guard option(SO_ACCEPTCONN, of: descriptor) == 1,
            option(SO_TYPE, of: descriptor) == CInt(SOCK_STREAM.rawValue)
        else {
            throw ListenError(address, "it is no socket that listens for streams; check the unit's ListenStream=")
        }
        _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
    }

    private static func option(_ name: CInt, of descriptor: CInt) -> CInt? {
        var value: CInt = 0
        var length = socklen_t(MemoryLayout<CInt>.size)
        return getsockopt(descriptor, SOL_SOCKET, name, &value, &length) == 0 ? value : nil
    }

    static func bindAndListen<Name>(
        _ descriptor: CInt, _ name: inout Name, length: socklen_t = socklen_t(MemoryLayout<Name>.size)
    ) -> Bool {
        let bound = withUnsafePointer(to: &name) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(descriptor, $0, length) }
        }
        return bound == 0 && listen(descriptor, backlog) == 0
    }

    private static func setPort(_ port: UInt16, in name: inout sockaddr_storage) {
        withUnsafeMutablePointer(to: &name) {
            // IPv4 and IPv6 addresses hold the port at the same offset.
            $0.withMemoryRebound(to: sockaddr_in.self, capacity: 1) { $0.pointee.sin_port = port.bigEndian }
        }
    }

    private static func boundPort(_ descriptor: CInt) -> UInt16 {
        var name = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        return withUnsafeMutablePointer(to: &name) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { _ = getsockname(descriptor, $0, &length) }
            // IPv4 and IPv6 addresses hold the port at the same offset.
            return $0.withMemoryRebound(to: sockaddr_in.self, capacity: 1) { UInt16(bigEndian: $0.pointee.sin_port) }
        }
    }
}
