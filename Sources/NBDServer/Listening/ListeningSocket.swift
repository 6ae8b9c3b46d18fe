import Block
import CLinux
import Glibc

/// Opens the sockets that a server listens on.
enum ListeningSocket {
    /// As many clients as the system lets wait: one that does not wait itself is turned away where there is no room.
    private static let backlog = CInt(SOMAXCONN)
    private static let triesForOnePort = 16

    /// Opens, binds and listens.
    /// - Parameter permissions: of a Unix socket.
    /// - Returns: the descriptors, one for each address that a host name stands for, and the address as bound, with the
    ///   port that the kernel chose.
    static func open(_ address: ListenAddress, _ permissions: FilePermissions) throws -> ([CInt], ListenAddress) {
        switch address {
        case .unix(let path): return ([try openUnix(path, address, permissions)], address)
        case .tcp(let host, let port): return try openTCP(host, port, address)
        case .vsock(let port): return ([try openVirtual(port, address)], address)
        case .inherited(let descriptor):
            try check(descriptor, address)
            return ([descriptor], address)
        }
    }

    private static func openUnix(
        _ path: String, _ address: ListenAddress, _ permissions: FilePermissions
    ) throws -> CInt {
        let descriptor = try bindUnix(path, address, isPrivate: permissions != FilePermissions())
        do {
            try permissions.apply(toSocket: path)
        } catch {
            unlink(path)
            close(descriptor)
            throw error
        }
        return descriptor
    }

    /// - Parameter isPrivate: nobody but the owner may connect for the time being.
    private static func bindUnix(_ path: String, _ address: ListenAddress, isPrivate: Bool) throws -> CInt {
        var name = sockaddr_un()
        name.sun_family = sa_family_t(AF_UNIX)
        let capacity = MemoryLayout.size(ofValue: name.sun_path)
        guard path.utf8.count < capacity else {
            throw ListenError(address, "the path is longer than \(capacity - 1) bytes; choose a shorter one")
        }
        withUnsafeMutableBytes(of: &name.sun_path) { $0.copyBytes(from: path.utf8) }
        guard !path.isEmpty else { throw ListenError(address, "the path of the socket is empty") }
        let descriptor = try newSocket(AF_UNIX, address)
        // Linux makes the file with the socket's own mode, less the umask; so it is never open to more than it shall be.
        if isPrivate { fchmod(descriptor, 0o600) }
        if bindAndListen(descriptor, &name) { return descriptor }
        guard errno != EADDRINUSE || isSocket(path) else {
            close(descriptor)
            throw ListenError(address, "the file is there and is no socket; choose another path")
        }
        if errno == EADDRINUSE, isAbandoned(&name), unlink(path) == 0, bindAndListen(descriptor, &name) {
            return descriptor
        }
        let code = errno
        close(descriptor)
        throw ListenError(address, code: code)
    }

    /// A disk image given by mistake must not be taken for an abandoned socket: it refuses connections, too.
    private static func isSocket(_ path: String) -> Bool {
        let code = errno
        defer { errno = code }
        var info = stat()
        return lstat(path, &info) == 0 && info.st_mode & S_IFMT == S_IFSOCK
    }

    /// Whether the socket file was left by a server that is gone.
    private static func isAbandoned(_ name: inout sockaddr_un) -> Bool {
        let probe = socket(AF_UNIX, CInt(SOCK_STREAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue), 0)
        guard probe >= 0 else { return false }
        defer { close(probe) }
        let connected = withUnsafePointer(to: &name) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(probe, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        let isAbandoned = connected != 0 && errno == ECONNREFUSED
        if !isAbandoned { errno = EADDRINUSE }
        return isAbandoned
    }

    private static func openTCP(_ host: String, _ port: UInt16, _ address: ListenAddress) throws -> (
        [CInt], ListenAddress
    ) {
        var hints = addrinfo()
        hints.ai_socktype = CInt(SOCK_STREAM.rawValue)
        hints.ai_flags = AI_PASSIVE
        var found: UnsafeMutablePointer<addrinfo>?
        let code = getaddrinfo(host.isEmpty ? nil : host, String(port), &hints, &found)
        guard code == 0, let found else { throw ListenError(address, String(cString: gai_strerror(code))) }
        defer { freeaddrinfo(found) }
        for _ in 1..<(port == 0 ? triesForOnePort : 1) {
            if let opened = try? openAll(found, port, address) { return bound(opened, host) }
            // The port that was free at one address may be taken at another. The last try's error is the user's.
        }
        return bound(try openAll(found, port, address), host)
    }

    private static func bound(_ descriptors: [CInt], _ host: String) -> ([CInt], ListenAddress) {
        (descriptors, .tcp(host: host, port: boundPort(descriptors[0])))
    }

    /// A socket for each address that this machine has, all with one port.
    private static func openAll(
        _ found: UnsafeMutablePointer<addrinfo>, _ port: UInt16, _ address: ListenAddress
    ) throws -> [CInt] {
        var descriptors: [CInt] = []
        do {
            for candidate in sequence(first: found, next: { $0.pointee.ai_next }) {
                // The name's other addresses get the port that the first one got.
                let port = descriptors.first.map(boundPort) ?? port
                if let descriptor = try openTCP(candidate.pointee, port, address) { descriptors.append(descriptor) }
            }
        } catch {
            for descriptor in descriptors { close(descriptor) }
            throw error
        }
        guard !descriptors.isEmpty else { throw ListenError(address, code: EADDRNOTAVAIL) }
        return descriptors
    }

    /// - Returns: nil where this machine does not have the address or its family.
    private static func openTCP(_ candidate: addrinfo, _ port: UInt16, _ address: ListenAddress) throws
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
        // IPv4 has a socket of its own.
        if candidate.ai_family == AF_INET6 { setsockopt(descriptor, CInt(IPPROTO_IPV6), IPV6_V6ONLY, &on, length) }
        var name = sockaddr_storage()
        memcpy(&name, candidate.ai_addr, Int(candidate.ai_addrlen))
        setPort(port, in: &name)
        guard bindAndListen(descriptor, &name, candidate.ai_addrlen) else {
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

    private static func newSocket(_ family: CInt, _ address: ListenAddress) throws -> CInt {
        let descriptor = socket(family, CInt(SOCK_STREAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { throw ListenError(address, code: errno) }
        return descriptor
    }

    private static func bindAndListen<Name>(
        _ descriptor: CInt, _ name: inout Name, _ length: socklen_t = socklen_t(MemoryLayout<Name>.size)
    ) -> Bool {
        let bound = withUnsafePointer(to: &name) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(descriptor, $0, length) }
        }
        return bound == 0 && listen(descriptor, backlog) == 0
    }

    private static func setPort(_ port: UInt16, in name: inout sockaddr_storage) {
        withUnsafeMutablePointer(to: &name) {
            // The port stands at the same place in IPv4 and IPv6 addresses.
            $0.withMemoryRebound(to: sockaddr_in.self, capacity: 1) { $0.pointee.sin_port = port.bigEndian }
        }
    }

    private static func boundPort(_ descriptor: CInt) -> UInt16 {
        var name = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        return withUnsafeMutablePointer(to: &name) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { _ = getsockname(descriptor, $0, &length) }
            // At the same place in both, as above.
            return $0.withMemoryRebound(to: sockaddr_in.self, capacity: 1) { UInt16(bigEndian: $0.pointee.sin_port) }
        }
    }
}
