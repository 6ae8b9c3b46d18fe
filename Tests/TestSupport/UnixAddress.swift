import Foundation

/// Addresses of Unix sockets.
package enum UnixAddress {
    /// Calls `body` with the address of a path.
    /// - Throws: an error if the path is too long.
    package static func with(_ path: String, _ body: (UnsafePointer<sockaddr>, socklen_t) -> CInt) throws -> CInt {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let room = MemoryLayout.size(ofValue: address.sun_path)
        guard path.utf8.count < room else { throw POSIXError(.ENAMETOOLONG) }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        return withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, socklen_t(MemoryLayout<sockaddr_un>.size)) }
        }
    }

    /// Listens at a path, where a leftover is removed.
    /// - Parameter backlog: connections that may wait, less one.
    /// - Returns: the descriptor.
    /// - Throws: an error if the socket can't be made.
    package static func listen(at path: String, backlog: CInt = 8) throws -> CInt {
        unlink(path)
        let descriptor = socket(AF_UNIX, CInt(SOCK_STREAM.rawValue), 0)
        guard try with(path, { bind(descriptor, $0, $1) }) == 0, Foundation.listen(descriptor, backlog) == 0 else {
            throw POSIXError(POSIXErrorCode(rawValue: errno) ?? .EIO)
        }
        return descriptor
    }

    /// Whether a socket of this network namespace listens at a path, asked without a connection to it.
    ///
    /// The file is there since `bind`, and refuses connections until `listen`.
    package static func isListening(at path: String) -> Bool {
        let sockets = (try? String(contentsOfFile: "/proc/net/unix", encoding: .utf8)) ?? ""
        return sockets.split(separator: "\n").contains { line in
            let fields = line.split(separator: " ", maxSplits: 7)
            return fields.count == 8 && fields[3] == "00010000" && fields[7] == path
        }
    }

    /// Connects until no further connection may wait at a listening socket.
    /// - Returns: the descriptors.
    package static func fillQueue(at path: String) throws -> [CInt] {
        var waiting: [CInt] = []
        while true {
            let descriptor = socket(AF_UNIX, CInt(SOCK_STREAM.rawValue) | CInt(SOCK_NONBLOCK.rawValue), 0)
            waiting.append(descriptor)
            guard try with(path, { connect(descriptor, $0, $1) }) == 0 else { break }
        }
        return waiting
    }
}
