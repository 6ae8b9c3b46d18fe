import Foundation
import Glibc

@testable import Migration

/// The socket of a hypervisor, with blocking calls on threads of its own.
final class Hypervisor: Sendable {
    private let descriptor: CInt

    init(descriptor: CInt) {
        self.descriptor = descriptor
    }

    /// Connects to a socket once somebody listens there.
    static func connect(to path: String) async throws -> Hypervisor {
        while true {
            let descriptor = socket(AF_UNIX, CInt(SOCK_STREAM.rawValue), 0)
            let isConnected = withAddress(path) { Glibc.connect(descriptor, $0, $1) } == 0
            if isConnected { return Hypervisor(descriptor: descriptor) }
            close(descriptor)
            try await Task.sleep(for: .milliseconds(5))
        }
    }

    /// A socket that listens at `path`.
    static func listen(at path: String) -> CInt {
        let descriptor = socket(AF_UNIX, CInt(SOCK_STREAM.rawValue), 0)
        precondition(withAddress(path) { bind(descriptor, $0, $1) } == 0)
        precondition(Glibc.listen(descriptor, 8) == 0)
        return descriptor
    }

    /// The first that connects.
    static func accept(on descriptor: CInt) async throws -> Hypervisor {
        try await BlockingWork.run { Hypervisor(descriptor: Glibc.accept(descriptor, nil, nil)) }
    }

    private static func withAddress(
        _ path: String, _ body: (UnsafePointer<sockaddr>, socklen_t) -> CInt
    ) -> CInt {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        return withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, socklen_t(MemoryLayout<sockaddr_un>.size)) }
        }
    }

    /// Writes everything.
    /// - Returns: whether the other side has taken it.
    func write(_ bytes: [UInt8]) async throws -> Bool {
        try await BlockingWork.run { [descriptor] in
            var done = 0
            while done < bytes.count {
                let count = bytes.withUnsafeBytes {
                    send(descriptor, $0.baseAddress! + done, bytes.count - done, CInt(MSG_NOSIGNAL))
                }
                guard count > 0 else { return false }
                done += count
            }
            return true
        }
    }

    /// Writes as much as the other side takes without anybody reading, up to `limit` bytes.
    /// - Returns: the bytes that it has taken by the time that it has taken none for half a second.
    func fill(_ bytes: [UInt8], limit: Int) async throws -> Int {
        var least: CInt = 1
        setsockopt(descriptor, SOL_SOCKET, SO_SNDBUF, &least, socklen_t(MemoryLayout<CInt>.size))
        var done = 0
        var last = ContinuousClock.now
        while done < limit, last.duration(to: .now) < .milliseconds(500) {
            let rest = done % bytes.count
            let count = bytes.withUnsafeBytes {
                send(descriptor, $0.baseAddress! + rest, bytes.count - rest, CInt(MSG_NOSIGNAL) | CInt(MSG_DONTWAIT))
            }
            if count > 0 {
                done += count
                last = .now
            } else {
                try await Task.sleep(for: .milliseconds(5))
            }
        }
        return done
    }

    /// Reads to the end, or so many bytes.
    func read(_ limit: Int = .max) async throws -> [UInt8] {
        try await BlockingWork.run { [descriptor] in
            var all: [UInt8] = []
            var buffer = [UInt8](repeating: 0, count: 1 << 16)
            while all.count < limit {
                let count = recv(descriptor, &buffer, min(buffer.count, limit - all.count), 0)
                guard count > 0 else { break }
                all += buffer[..<count]
            }
            return all
        }
    }

    /// Ends its own direction.
    func endWriting() { shutdown(descriptor, CInt(SHUT_WR)) }

    /// Hangs up.
    func hangUp() { shutdown(descriptor, CInt(SHUT_RDWR)) }

    deinit { close(descriptor) }
}
