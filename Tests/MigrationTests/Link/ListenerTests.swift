import Glibc
import NIOPosix
import Peer
import TestSupport
import Testing

@testable import PeerModel

@Suite("The listener for peers", .timeLimit(.minutes(10)))
struct ListenerTests {
    @Test("Invariant 10: more connections than it takes, and a stop with connections under way, end nothing but them")
    func tooMany() async throws {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let transport = PeerTransport(group: group)
        for _ in 0..<3 {
            let listener = try await PeerListener(on: PeerAddress(host: "127.0.0.1", port: 0), transport: transport)
            let task = Task {
                await listener.run { connection in do { for try await _ in connection.inbound {} } catch {} }
            }
            let sockets = try await onThread { (0..<400).map { _ in Self.connect(listener.address.port) } }
            task.cancel()
            await task.value
            for socket in sockets { close(socket) }
        }
        try await group.shutdownGracefully()
    }

    private static func connect(_ port: UInt16) -> CInt {
        let descriptor = socket(AF_INET, CInt(SOCK_STREAM.rawValue), 0)
        var name = sockaddr_in()
        name.sin_family = sa_family_t(AF_INET)
        name.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        name.sin_port = port.bigEndian
        withUnsafePointer(to: &name) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                _ = Glibc.connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        return descriptor
    }
}
