import Foundation

/// A TCP connection to a port of 127.0.0.1 that sends arbitrary bytes.
package final class RawSocket: Sendable {
    private let descriptor: Int32

    /// - Throws: an error if nobody listens.
    package init(port: UInt16) throws {
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var name = sockaddr_in()
        name.sin_family = sa_family_t(AF_INET)
        name.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        name.sin_port = port.bigEndian
        let status = withUnsafePointer(to: &name) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard status == 0 else { throw POSIXError(POSIXErrorCode(rawValue: errno) ?? .EIO) }
    }

    deinit { close(descriptor) }

    /// Sends bytes until the other side takes no more.
    package func send(_ bytes: [UInt8]) {
        _ = bytes.withUnsafeBytes { Foundation.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
    }

    /// Whether the other side's answer begins with a text.
    package func begins(with text: String) async throws -> Bool {
        try await onThread { [self] in
            var buffer = [UInt8](repeating: 0, count: text.utf8.count)
            let count = recv(descriptor, &buffer, buffer.count, Int32(MSG_WAITALL))
            return count == buffer.count && String(decoding: buffer, as: UTF8.self) == text
        }
    }

    /// Returns all bytes until the other side ends the connection; nil if it does not within `limit`.
    package func readToEnd(within limit: Duration = .seconds(30)) async throws -> [UInt8]? {
        try await onThread { [self] in
            var pause = timeval(tv_sec: Int(limit.components.seconds), tv_usec: 0)
            setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &pause, socklen_t(MemoryLayout<timeval>.size))
            var all: [UInt8] = []
            var buffer = [UInt8](repeating: 0, count: 65536)
            while true {
                let count = recv(descriptor, &buffer, buffer.count, 0)
                guard count > 0 else {
                    return count < 0 && errno == EAGAIN ? nil : all
                }
                all += buffer[..<count]
            }
        }
    }
}
