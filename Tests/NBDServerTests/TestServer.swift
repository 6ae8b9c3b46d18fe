import Block
import Foundation
import NBD
import Ring
import TestSupport

@testable import NBDServer

/// A server with its own image and loops, on a Unix socket.
final class TestServer: Sendable {
    let scratch = Scratch()
    let loops: [EventLoop]
    let device: FileDevice
    let disk: Disk
    let server: Server
    let exports = ExportTable()
    let tallies: RequestTallies
    let clients = ClientNotes()
    let size: Int

    private init(
        size: Int, contents: [UInt8]?, loops count: Int, isReadOnly: Bool, placement: ClientPlacement
    ) throws {
        self.size = size
        if let contents {
            _ = try scratch.write(contents, to: "disk.raw")
        } else {
            _ = try scratch.hole(size, "disk.raw")
        }
        let image = try RawImage(path: scratch.file("disk.raw"), access: .readWrite)
        loops = try (0..<count).map { try EventLoop(index: $0) }
        device = FileDevice(image: image)
        disk = Disk(size: image.size, device: device, loops: loops)
        tallies = RequestTallies(loops: count)
        _ = exports.add(
            Export(name: "disk", disk: disk, isReadOnly: isReadOnly, tallies: tallies), isDefault: true)
        server = Server(exports: exports, loops: loops, placement: placement, observer: clients)
        _ = try server.listen(on: .unix(path: socket))
    }

    /// Runs `body` with a server, and stops it afterwards.
    static func run(
        size: Int = 1 << 20, contents: [UInt8]? = nil, loops: Int = 2, isReadOnly: Bool = false,
        placement: ClientPlacement = .inTurn, _ body: (TestServer) async throws -> Void
    ) async throws {
        let test = try TestServer(
            size: contents?.count ?? size, contents: contents, loops: loops, isReadOnly: isReadOnly,
            placement: placement)
        let result: Result<Void, any Error>
        do { result = .success(try await body(test)) } catch { result = .failure(error) }
        await test.server.stop()
        for loop in test.loops { loop.stop() }
        try result.get()
    }

    var socket: String { scratch.file("nbd.sock") }
    var uri: String { "nbd+unix:///disk?socket=\(socket)" }

    /// The bytes of the image now.
    var image: [UInt8] { get throws { try scratch.contents("disk.raw") } }

    /// A client that has chosen the export.
    /// - Parameter seconds: the longest time for which it waits for bytes.
    func connect(seconds: Int = 20) throws -> Client {
        let client = try Client(unix: socket, seconds: seconds)
        try client.choose("disk")
        return client
    }

    /// Connected sockets of the server, as the kernel counts them.
    var openSockets: Int {
        get throws {
            let connected = try String(contentsOfFile: "/proc/net/unix", encoding: .utf8).split(
                separator: "\n")
            return connected.count { $0.hasSuffix(" \(socket)") && $0.contains(" 0001 03 ") }
        }
    }

    /// Lets each of some loops run `count` times, one after the other. A thread of its own waits, so that no other test makes
    /// it longer.
    func runLoops(_ numbers: [Int]? = nil, times count: Int) async throws {
        let used = numbers.map { $0.map { loops[$0] } } ?? loops
        try await onThread {
            let hasRun = DispatchSemaphore(value: 0)
            for _ in 0..<count {
                for loop in used {
                    loop.post { hasRun.signal() }
                    hasRun.wait()
                }
            }
        }
    }

    /// Waits until the last client's connection has been closed.
    func waitUntilIdle() async throws {
        try await eventually("connections are still open") {
            try server.connectionCount == 0 && openSockets == 0
        }
    }
}

/// Polls until a condition holds, for events that nobody announces.
func eventually(_ complaint: String, _ holds: () throws -> Bool) async throws {
    for _ in 0..<2000 {
        if try holds() { return }
        try await Task.sleep(for: .milliseconds(5))
    }
    throw Unexpected(complaint)
}

/// A failure in code where no expectation can be written.
struct Unexpected: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) { self.description = description }
}
