import BlockModel
import Glibc
import MigrationProtocol
import NIOConcurrencyHelpers
import NIOCore
import Peer
import TestSupport
import Testing

@testable import Block
@testable import Migration
@testable import MigrationCore

@Suite("Changes that wait for room at a link", .timeLimit(.minutes(10)))
struct ForwardLinkRoomTests {
    private func write(_ link: ForwardLink) async -> CInt {
        let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: 4096, alignment: 4096)
        defer { memory.deallocate() }
        memory.initializeMemory(as: UInt8.self, repeating: 1)
        return await withCheckedContinuation { continuation in
            link.handle(
                AsyncRequest(
                    kind: .write, isForcedUnitAccess: false, mayPunchHole: true, offset: 0, length: 4096, buffer: memory
                ) { continuation.resume(returning: $0) })
        }
    }

    @Test(
        "So many changes are kept that one must wait -> it leaves once they are flushed, or on the next connection",
        arguments: [false, true])
    func room(isCut: Bool) async throws {
        let node = try TestNode()
        let unanswered = NIOLockedValueBox<(PeerConnection, Message)?>(nil)
        let flushes = Countdown(1)
        let script: @Sendable (Message, PeerConnection) async throws -> Bool = { message, connection in
            if case .hello = message {
                try await connection.send(Message.welcome(Welcome(blockSize: 0, boot: 1)).encoded())
            }
            guard case .request(let request) = message else { return true }
            let answer = Message.answer(ForwardAnswer(id: request.id, error: 0, payload: ByteBuffer()))
            if request.kind == .flush, flushes.next() {
                unanswered.withLockedValue { $0 = (connection, answer) }
            } else {
                try await connection.send(answer.encoded())
            }
            return true
        }
        try await node.withPeer(script) { address in
            let link = ForwardLink(
                destination: address, export: "disk", migration: MigrationID(), transport: node.transport,
                logger: node.logger)
            // A flush is due from two changes on, and none may leave from four on.
            link.state.withLockedValue {
                $0.requests = ForwardQueue(isResumed: false, mayRepeat: false, limit: 2 * 4096)
            }
            link.commit()
            link.start()
            for _ in 0..<4 { #expect(await write(link) == 0) }
            let last = Task { await write(link) }
            try await waitUntil("it waits for room") { link.state.waiting == 1 }
            let (connection, answer) = try #require(unanswered.withLockedValue { $0 })
            if isCut { connection.close() } else { try await connection.send(answer.encoded()) }
            #expect(await last.value == 0)
            #expect(link.state.waiting == 0)
            link.stop()
            await link.waitUntilEnded()
        }
    }

    @Test("The link is stopped while a change waits for room -> the change fails, and nothing waits any more")
    func stopped() async throws {
        let node = try TestNode()
        let script: @Sendable (Message, PeerConnection) async throws -> Bool = { message, connection in
            if case .hello = message {
                try await connection.send(Message.welcome(Welcome(blockSize: 0, boot: 1)).encoded())
            }
            if case .request(let request) = message, request.kind != .flush {
                let answer = ForwardAnswer(id: request.id, error: 0, payload: ByteBuffer())
                try await connection.send(Message.answer(answer).encoded())
            }
            return true
        }
        try await node.withPeer(script) { address in
            let link = ForwardLink(
                destination: address, export: "disk", migration: MigrationID(), transport: node.transport,
                logger: node.logger)
            link.state.withLockedValue {
                $0.requests = ForwardQueue(isResumed: false, mayRepeat: false, limit: 4096)
            }
            link.start()
            await link.waitUntilConnected(atMost: .seconds(100))
            for _ in 0..<2 { #expect(await write(link) == 0) }
            let last = Task { await write(link) }
            try await waitUntil("it waits for room") { link.state.waiting == 1 }
            link.stop()
            #expect(await last.value == ESHUTDOWN)
            await link.waitUntilEnded()
            #expect(link.state.waiting == 0)
        }
    }
}
