import NIOCore
import Peer
import TestSupport
import Testing

@testable import Migration
@testable import MigrationProtocol
@testable import PeerModel

@Suite("Places for other hosts of the site", .timeLimit(.minutes(5)))
struct LoanTests {
    private struct Everybody: NeighbourLender {
        func isMember(_ host: String, _ peer: PeerIdentity) -> Bool { true }

        func read(_ table: [UInt8], into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) -> Int {
            buffer.count
        }
    }

    private static let question = Message.arrivalQuestion(
        ArrivalQuestion(
            id: 7, order: ArrivalOrder(time: 1, number: 1), wait: 0, blockSize: 4096, domains: [], prefixes: []))
    private static let read = Message.neighbourRead(
        NeighbourRead(id: 7, table: Array(repeating: 1, count: 16), offset: 0, length: 4096))

    private let node: TestNode

    init() throws {
        node = try TestNode()
    }

    /// Returns the answer to another host that asks so.
    private func hear(_ request: Message, from address: PeerAddress) async throws -> Message? {
        let hello = Hello(purpose: .neighbours, migration: MigrationID(), export: "other")
        return try await node.say([.hello(hello), request], to: address, answers: 2).last
    }

    /// Holds so many connections on which something was asked and answered.
    private func holding(
        _ count: Int, _ request: Message, to address: PeerAddress, _ body: @escaping @Sendable () async throws -> Void
    ) async throws {
        guard count > 0 else { return try await body() }
        try await PeerConnection.connect(to: address, on: node.transport) { connection in
            var frames = connection.inbound.makeAsyncIterator()
            _ = try await connection.greet(
                Hello(purpose: .neighbours, migration: MigrationID(), export: "other"), &frames)
            try await connection.send(request.encoded())
            if case .refused(let reason) = try await frames.nextMessage() { Issue.record("\(reason)") }
            try await holding(count - 1, request, to: address, body)
        }
    }

    private static func isRefused(_ message: Message?) -> Bool {
        if case .refused = message { true } else { false }
    }

    @Test("A host asks for as many arriving disks as it may -> one more is refused, and it is still lent neighbours")
    func questions() async throws {
        try await node.receiving(lender: Everybody()) { address in
            try await holding(PeerLimits.arrivalQuestionsPerPeer, Self.question, to: address) {
                let further = try await hear(Self.question, from: address)
                #expect(Self.isRefused(further))
                guard case .neighbourBytes(let bytes) = try await hear(Self.read, from: address) else {
                    Issue.record("nothing lent")
                    return
                }
                #expect(bytes.payload.readableBytes == 4096)
            }
            try await holding(PeerLimits.loansPerPeer, Self.read, to: address) {
                let further = try await hear(Self.read, from: address)
                #expect(Self.isRefused(further))
                try await waitUntil("the places of questions are free again") {
                    !Self.isRefused(try await hear(Self.question, from: address))
                }
            }
        }
    }
}
