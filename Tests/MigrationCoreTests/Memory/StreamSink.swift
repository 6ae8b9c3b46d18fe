import Foundation
import TestSupport

/// A socket to which a QEMU migrates. It keeps the bytes of each connection.
struct StreamSink {
    /// The answer to a ping with the number 1, with which a main channel begins (migration/migration.h, `MIG_RP_MSG_PONG`).
    private static let pong: [UInt8] = [0, 2, 0, 4, 0, 0, 0, 1]
    /// The last message of a destination, which has loaded everything (`MIG_RP_MSG_SHUT`).
    private static let success: [UInt8] = [0, 1, 0, 4, 0, 0, 0, 0]

    private let listener: CInt

    /// - Throws: an error if the path can't be listened on.
    init(path: String) throws {
        listener = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        let status = try UnixAddress.with(path) { bind(listener, $0, $1) }
        guard status == 0, listen(listener, 16) == 0 else { throw POSIXError(.EADDRINUSE) }
    }

    /// Takes no more connections. Those that are there go on.
    func close() { shutdown(listener, Int32(SHUT_RDWR)) }

    /// Reads until `close` was called and all connections have ended. Blocks the thread.
    /// - Parameter answers: whether the main channel is answered as by a destination that succeeds.
    /// - Returns: the bytes of each connection, in the order in which they were accepted.
    func collect(answers: Bool) -> [[UInt8]] {
        var streams: [[UInt8]] = []
        var open = [pollfd(fd: listener, events: Int16(POLLIN), revents: 0)]
        var place: [CInt: Int] = [:]
        while !open.isEmpty {
            guard poll(&open, nfds_t(open.count), -1) > 0 else { continue }
            for ready in open where ready.revents != 0 {
                if ready.fd == listener {
                    guard let connection = accept(open: &open) else { continue }
                    place[connection] = streams.count
                    streams.append([])
                } else if !read(ready.fd, into: &streams[place[ready.fd]!], answers: answers) {
                    open.removeAll { $0.fd == ready.fd }
                    Foundation.close(ready.fd)
                }
            }
        }
        return streams
    }

    private func accept(open: inout [pollfd]) -> CInt? {
        let connection = Foundation.accept(listener, nil, nil)
        guard connection >= 0 else {
            open.removeAll { $0.fd == listener }
            Foundation.close(listener)
            return nil
        }
        open.append(pollfd(fd: connection, events: Int16(POLLIN), revents: 0))
        return connection
    }

    /// - Returns: false at the end of the stream.
    private func read(_ connection: CInt, into stream: inout [UInt8], answers: Bool) -> Bool {
        var buffer = [UInt8](repeating: 0, count: 1 << 18)
        let count = recv(connection, &buffer, buffer.count, 0)
        guard count > 0 else { return false }
        let isFirst = stream.isEmpty
        stream += buffer[..<count]
        guard answers, stream.starts(with: "QEVM".utf8) else { return true }
        let answer = (isFirst ? Self.pong : []) + (Self.isWhole(stream) ? Self.success : [])
        _ = send(connection, answer, answer.count, Int32(MSG_NOSIGNAL))
        return true
    }

    /// Whether a main channel has ended: after post-copy with the end of memory, otherwise with the devices' description.
    private static func isWhole(_ stream: [UInt8]) -> Bool {
        let end = Array(stream.suffix(14))
        if end.count == 14, end.starts(with: [0, 0, 0, 0, 0, 0, 0, 0x10, 0x7e]), end[13] == 0 { return true }
        guard end.last == UInt8(ascii: "}") else { return false }
        return stream.indices.suffix(1 << 20).dropLast(6).contains { place in
            guard stream[place] == 6, stream[place + 5] == UInt8(ascii: "{") else { return false }
            return stream[place + 1..<place + 5].reduce(0) { $0 << 8 | Int($1) } == stream.count - place - 5
        }
    }
}
