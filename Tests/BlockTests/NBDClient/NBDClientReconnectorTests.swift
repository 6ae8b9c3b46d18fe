import Foundation
import Ring
import TestSupport
import Testing

@testable import Block

@Suite(.timeLimit(.minutes(1))) struct NBDClientReconnectorTests {
    @Test("A server that accepts and says nothing -> the attempt ends")
    func silentServer() async throws {
        let scratch = Scratch()
        let path = scratch.file("nbd")
        let silent = try UnixAddress.listen(at: path)
        defer { close(silent) }
        let loop = try EventLoop(index: 0)
        defer { loop.stop() }
        let reconnector = NBDClientReconnector(uri: "nbd+unix:///?socket=\(path)", loop: loop)
        let hasConnected = await withCheckedContinuation { continuation in
            loop.post { reconnector.connect(until: .now() + 1) { continuation.resume(returning: $0 != nil) } }
        }
        #expect(!hasConnected)
    }
}
