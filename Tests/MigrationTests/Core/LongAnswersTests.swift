import Block
import Foundation
import NIOConcurrencyHelpers
import NIOCore
import TestSupport
import Testing

@testable import Migration

@Suite("Long answers before the hand-over", .timeLimit(.minutes(10)))
struct LongAnswersTests {
    private func read(_ id: UInt64, _ length: UInt64, kind: BlockRequest.Kind = .read) -> Message {
        .request(
            RemoteRequest(
                id: id, kind: kind, isForced: false, mayPunchHole: true, offset: 0, length: length,
                payload: ByteBuffer()))
    }

    private func answer(_ id: UInt64, error: Int32 = 0) -> Message {
        .answer(RemoteAnswer(id: id, error: error, payload: ByteBuffer()))
    }

    @Test("A message is owed that is as long as the answer to a read, until that read is answered, however")
    func owed() {
        let header = RemoteAnswer.headerBytes
        var answers = LongAnswers()
        #expect(!answers.isOwed(4096 + header))
        answers.sends(read(1, 4096))
        answers.sends(read(2, 8192))
        answers.sends(read(3, 100, kind: .flush))
        #expect(answers.isOwed(4096 + header) && answers.isOwed(8192 + header))
        #expect(!answers.isOwed(4096) && !answers.isOwed(4097 + header) && !answers.isOwed(100 + header))
        answers.received(answer(7))
        answers.received(answer(1))
        answers.received(answer(2, error: 5))
        #expect(!answers.isOwed(4096 + header) && !answers.isOwed(8192 + header))
    }

    @Test("A read that is asked twice is owed two answers")
    func twice() {
        var answers = LongAnswers()
        for _ in 0..<2 { answers.sends(read(1, 4096)) }
        answers.received(answer(1))
        #expect(answers.isOwed(4096 + RemoteAnswer.headerBytes))
        answers.received(answer(1))
        #expect(!answers.isOwed(4096 + RemoteAnswer.headerBytes))
    }

    @Test("The header of an answer is as long as it is said to be")
    func header() {
        #expect(answer(1).encoded().readableBytes == RemoteAnswer.headerBytes)
        let bytes: [UInt8] = [1, 2, 3]
        let frame = bytes.withUnsafeBytes { RemoteAnswer.frame(id: 9, error: 4, payload: $0) }
        #expect(frame == Message.answer(RemoteAnswer(id: 9, error: 4, payload: ByteBuffer(bytes: bytes))).encoded())
    }

    @Test("Clients of a disk that is still to come may read much at once, many at a time")
    func longReads() async throws {
        var random = Seeded.fresh()
        let (source, destination) = (try TestNode(), try TestNode())
        let (disk, image) = try source.makeDisk(size: 12 << 20, &random)
        let contents = try TestNode.contents(image.path)
        try await destination.receiving { address in
            let migration = source.migration(of: disk, image, to: address, switchover: .manual)
            let moving = Task { try await migration.run { _ in } }
            let client = destination.client(try await arriving(destination.announced))
            try await withThrowingTaskGroup(of: Bool.self) { group in
                // More than 128 MiB, which is what all of them have.
                for number in 0..<24 {
                    group.addTask {
                        let offset = number % 5 * (1 << 20)
                        let memory = BlockBuffer(byteCount: 7 << 20)
                        let error = await client.perform(
                            .read, offset: UInt64(offset), length: 7 << 20, buffer: memory.bytes.baseAddress)
                        return error == 0 && Data(memory.bytes) == contents[offset..<offset + (7 << 20)]
                    }
                }
                for try await isRight in group { #expect(isRight) }
            }
            _ = migration.cancel()
            _ = try? await moving.value
        }
    }

    private func arriving(_ disks: NIOLockedValueBox<[String: Disk]>) async throws -> Disk {
        try await waitUntil("the disk is announced") { disks.withLockedValue { $0["disk"] } != nil }
        return try #require(disks.withLockedValue { $0["disk"] })
    }
}
