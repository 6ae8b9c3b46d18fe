import Foundation

/// The smallest client there is, for bytes that no real client sends. Blocks, but never for long.
final class Client: @unchecked Sendable {
    let socket: CInt
    private(set) var size: UInt64 = 0
    private(set) var flags: UInt16 = 0
    private var isOpen = true

    init(unix path: String, seconds: Int = 20) throws {
        socket = Glibc.socket(AF_UNIX, CInt(SOCK_STREAM.rawValue), 0)
        var name = sockaddr_un()
        name.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &name.sun_path) { $0.copyBytes(from: path.utf8) }
        try connect(&name, seconds)
    }

    init(port: UInt16, seconds: Int = 20) throws {
        socket = Glibc.socket(AF_INET, CInt(SOCK_STREAM.rawValue), 0)
        var name = sockaddr_in()
        name.sin_family = sa_family_t(AF_INET)
        name.sin_port = port.bigEndian
        name.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        try connect(&name, seconds)
    }

    deinit { hangUp() }

    /// Closes the socket without a word.
    func hangUp() {
        guard isOpen else { return }
        isOpen = false
        close(socket)
    }

    /// The handshake, by EXPORT_NAME.
    func choose(_ name: String) throws {
        try expect(try receive(18).prefix(8) == Array("NBDMAGIC".utf8)[...], "no greeting")
        try send(
            [0, 0, 0, 3] + Array("IHAVEOPT".utf8) + be(UInt32(1)) + be(UInt32(name.utf8.count)) + name.utf8)
        let answer = try receive(10)
        size = number(answer[..<8])
        flags = UInt16(number(answer[8...]))
    }

    func send(_ bytes: [UInt8]) throws {
        var done = 0
        while done < bytes.count {
            let count = bytes.withUnsafeBytes {
                Glibc.send(socket, $0.baseAddress! + done, $0.count - done, CInt(MSG_NOSIGNAL))
            }
            guard count > 0 else { throw Unexpected("cannot send: \(String(cString: strerror(errno)))") }
            done += count
        }
    }

    func receive(_ count: Int) throws -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        var done = 0
        while done < count {
            let got = bytes.withUnsafeMutableBytes { recv(socket, $0.baseAddress! + done, count - done, 0) }
            guard got != 0 else { throw Unexpected("the server hung up after \(done) of \(count) bytes") }
            guard got > 0 else { throw Unexpected("cannot receive: \(String(cString: strerror(errno)))") }
            done += got
        }
        return bytes
    }

    /// Whether the server has closed the connection, with nothing more to say.
    func isAtEnd() -> Bool {
        var byte: UInt8 = 0
        let got = recv(socket, &byte, 1, 0)
        return got == 0 || got < 0 && errno == ECONNRESET
    }

    /// The next reply's cookie and error.
    func reply() throws -> (cookie: UInt64, error: UInt32) {
        let header = try receive(16)
        try expect(header.prefix(4) == [0x67, 0x44, 0x66, 0x98], "no reply but \(header)")
        return (number(header[8...]), UInt32(number(header[4..<8])))
    }

    /// One request and its answer: the error, and the bytes read.
    func perform(_ request: Wished) throws -> (error: UInt32, bytes: [UInt8]) {
        try send(request.bytes)
        let reply = try reply()
        try expect(reply.cookie == request.cookie, "cookie \(reply.cookie), not \(request.cookie)")
        let isRead = request.type == Wished.read && reply.error == 0
        return (reply.error, isRead ? try receive(Int(request.length)) : [])
    }

    private func connect<Name>(_ name: inout Name, _ seconds: Int) throws {
        var limit = timeval(tv_sec: seconds, tv_usec: 0)
        for option in [SO_RCVTIMEO, SO_SNDTIMEO] {
            setsockopt(socket, SOL_SOCKET, option, &limit, socklen_t(MemoryLayout<timeval>.size))
        }
        let connected = withUnsafePointer(to: &name) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                Glibc.connect(socket, $0, socklen_t(MemoryLayout<Name>.size))
            }
        }
        try expect(connected == 0, "cannot connect: \(String(cString: strerror(errno)))")
    }

    private func expect(_ holds: Bool, _ complaint: @autoclosure () -> String) throws {
        if !holds { throw Unexpected(complaint()) }
    }
}

/// A request as the client wishes it, possible or not.
struct Wished: Sendable {
    static let (read, write, disconnect, flush, trim, zero) =
        (UInt16(0), UInt16(1), UInt16(2), UInt16(3), UInt16(4), UInt16(6))
    static let (forced, noHole) = (UInt16(1), UInt16(2))

    var type: UInt16
    var offset: UInt64 = 0
    var length: UInt32 = 0
    var flags: UInt16 = 0
    var cookie: UInt64 = 0x0123_4567_89ab_cdef
    var payload: [UInt8] = []

    static func read(_ offset: Int, _ length: Int, cookie: UInt64 = 1) -> Wished {
        Wished(type: read, offset: UInt64(offset), length: UInt32(length), cookie: cookie)
    }

    static func write(_ offset: Int, _ payload: [UInt8], cookie: UInt64 = 1) -> Wished {
        Wished(
            type: write, offset: UInt64(offset), length: UInt32(payload.count), cookie: cookie,
            payload: payload)
    }

    /// As it goes over the wire.
    var bytes: [UInt8] {
        be(UInt32(0x2560_9513)) + be(flags) + be(type) + be(cookie) + be(offset) + be(length) + payload
    }
}

/// Big-endian bytes.
func be<T: FixedWidthInteger>(_ value: T) -> [UInt8] {
    withUnsafeBytes(of: value.bigEndian) { Array($0) }
}

private func number(_ bytes: ArraySlice<UInt8>) -> UInt64 {
    bytes.reduce(0) { $0 << 8 | UInt64($1) }
}
