import Foundation
import NBD

/// A minimal client, for bytes that no real client sends. It blocks, but never for long.
final class Client: @unchecked Sendable {
    let socket: CInt
    private(set) var size: UInt64 = 0
    private(set) var flags: UInt16 = 0
    private(set) var style = HeaderStyle.simple
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

    /// Closes the socket without DISCONNECT.
    func hangUp() {
        guard isOpen else { return }
        isOpen = false
        close(socket)
    }

    /// Performs the handshake by EXPORT_NAME.
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

    /// Whether all received bytes have been read.
    var hasReadAll: Bool {
        var byte: UInt8 = 0
        return recv(socket, &byte, 1, CInt(MSG_DONTWAIT | MSG_PEEK)) < 0 && errno == EAGAIN
    }

    /// Whether the server has closed the connection and all bytes have been read.
    func isAtEnd() -> Bool {
        var byte: UInt8 = 0
        let got = recv(socket, &byte, 1, 0)
        return got == 0 || got < 0 && errno == ECONNRESET
    }

    /// Performs the handshake by GO.
    /// - Parameter asksForContexts: whether `base:allocation` is selected, if the style allows it.
    func negotiate(_ name: String, _ style: HeaderStyle, asksForContexts: Bool = true) throws {
        try expect(try receive(18).prefix(8) == Array("NBDMAGIC".utf8)[...], "no greeting")
        self.style = style
        var said: [UInt8] = [0, 0, 0, 3]
        if style != .simple { said += option(style == .extended ? 11 : 8, []) }
        if asksForContexts && style != .simple {
            said += option(10, string(name) + be(UInt32(1)) + string("base:allocation"))
        }
        try send(said + option(7, string(name) + be(UInt16(0))))
        while true {
            let header = try receive(20)
            let payload = try receive(Int(number(header[16...])))
            switch (number(header[8..<12]), number(header[12..<16])) {
            case (7, 1): return
            case (7, 3) where payload.prefix(2) == [0, 0]:
                size = number(payload[2..<10])
                flags = UInt16(number(payload[10..<12]))
            case (_, 1...4): break
            case (let option, let type): throw Unexpected("option \(option) was answered with \(type)")
            }
        }
    }

    private func option(_ type: UInt32, _ payload: [UInt8]) -> [UInt8] {
        Array("IHAVEOPT".utf8) + be(type) + be(UInt32(payload.count)) + payload
    }

    private func string(_ text: String) -> [UInt8] { be(UInt32(text.utf8.count)) + text.utf8 }

    /// Reads the next reply, a simple one without data: its cookie and error.
    func reply() throws -> (cookie: UInt64, error: UInt32) {
        let header = try receive(16)
        try expect(header.prefix(4) == [0x67, 0x44, 0x66, 0x98], "no reply but \(header)")
        return (number(header[8...]), UInt32(number(header[4..<8])))
    }

    /// Reads the next reply, in the negotiated style.
    /// - Parameter count: returns the bytes that a successful read with that cookie brings.
    func receiveReply(_ count: (UInt64) -> Int) throws -> ClientReply {
        guard style != .simple else {
            let (cookie, error) = try reply()
            return ClientReply(cookie: cookie, error: error, data: error == 0 ? try receive(count(cookie)) : [])
        }
        let header = try receive(style == .extended ? 32 : 20)
        let magic: [UInt8] = style == .extended ? [0x6e, 0x8a, 0x27, 0x8c] : [0x66, 0x8e, 0x33, 0xef]
        try expect(header.prefix(4) == magic[...], "no reply but \(header)")
        try expect(header[4..<6] == [0, 1], "a reply in several chunks: \(header)")
        var heard = ClientReply(cookie: number(header[8..<16]))
        if style == .extended { heard.offset = number(header[16..<24]) }
        let payload = try receive(Int(number(header[(style == .extended ? 24 : 16)...])))
        switch number(header[6..<8]) {
        case 0: try expect(payload.isEmpty, "a reply of no type has data")
        case 1:
            heard.dataOffset = number(payload[..<8])
            heard.data = Array(payload[8...])
        case 5 where style == .structured: heard.extents = extents(payload[4...], 4)
        case 6 where style == .extended:
            heard.extents = extents(payload[8...], 8)
            try expect(number(payload[4..<8]) == heard.extents.count, "a wrong number of extents")
        case 0x8001: heard.error = UInt32(number(payload[..<4]))
        case let type: throw Unexpected("a chunk of type \(type)")
        }
        return heard
    }

    private func extents(_ bytes: ArraySlice<UInt8>, _ width: Int) -> [(length: UInt64, state: UInt64)] {
        stride(from: bytes.startIndex, to: bytes.endIndex, by: 2 * width).map {
            (number(bytes[$0..<$0 + width]), number(bytes[$0 + width..<$0 + 2 * width]))
        }
    }

    /// Sends one request; returns its error and the bytes read.
    func perform(_ request: ClientRequest) throws -> (error: UInt32, bytes: [UInt8]) {
        let heard = try ask(request)
        return (heard.error, heard.data)
    }

    /// Sends one request; returns all of its reply.
    func ask(_ request: ClientRequest) throws -> ClientReply {
        try send(request.bytes(style))
        let heard = try receiveReply { _ in request.type == ClientRequest.read ? Int(request.length) : 0 }
        try expect(heard.cookie == request.cookie, "cookie \(heard.cookie), not \(request.cookie)")
        return heard
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

/// Big-endian bytes.
func be<T: FixedWidthInteger>(_ value: T) -> [UInt8] {
    withUnsafeBytes(of: value.bigEndian) { Array($0) }
}

private func number(_ bytes: ArraySlice<UInt8>) -> UInt64 {
    bytes.reduce(0) { $0 << 8 | UInt64($1) }
}
