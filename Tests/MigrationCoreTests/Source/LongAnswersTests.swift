import NIOCore
import Testing

@testable import BlockModel
@testable import MigrationCore
@testable import MigrationProtocol

@Suite("Long answers before the switchover")
struct LongAnswersTests {
    private func read(_ id: UInt64, _ length: UInt64, kind: RequestKind = .read) -> Message {
        .request(
            ForwardRequest(
                id: id, kind: kind, isForced: false, mayPunchHole: true, offset: 0, length: length,
                payload: ByteBuffer()))
    }

    private func answer(_ id: UInt64, error: Int32 = 0) -> Message {
        .answer(ForwardAnswer(id: id, error: error, payload: ByteBuffer()))
    }

    @Test("A message is owed that is as long as the answer to a read, until that read is answered, however")
    func owed() {
        let header = ForwardAnswer.headerBytes
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
        #expect(answers.isOwed(4096 + ForwardAnswer.headerBytes))
        answers.received(answer(1))
        #expect(!answers.isOwed(4096 + ForwardAnswer.headerBytes))
    }

    @Test("The header of an answer is as long as it is said to be")
    func header() {
        #expect(answer(1).encoded().readableBytes == ForwardAnswer.headerBytes)
        let bytes: [UInt8] = [1, 2, 3]
        let frame = bytes.withUnsafeBytes { ForwardAnswer.frame(id: 9, error: 4, payload: $0) }
        #expect(frame == Message.answer(ForwardAnswer(id: 9, error: 4, payload: ByteBuffer(bytes: bytes))).encoded())
    }
}
