import Block
import BlockModel
import Glibc
import MigrationProtocol
import NIOConcurrencyHelpers
import NIOCore
import Peer

/// Answers reads and flushes of a disk that has not been switched over, through the source (invariant 13), over the demand
/// channel. Any thread may call it.
final class EarlyReads: IncomingReader, Sendable {
    private struct Question: Sendable {
        let kind: RequestKind
        let offset: UInt64
        let length: Int
        let finish: @Sendable (CInt, UnsafeRawBufferPointer) -> Void
    }

    private struct State {
        var nextID: UInt64 = 0
        var open: [UInt64: Question] = [:]
    }

    private let channels: PostCopyChannels
    private let state = NIOLockedValueBox(State())

    init(channels: PostCopyChannels) {
        self.channels = channels
    }

    /// Takes the channels' messages from now on, and asks again all that has not been answered.
    func listen() {
        channels.listen(
            PostCopyChannels.Listener(
                event: { [self] event in if case .up(.demand, _, _) = event { askAgain() } },
                message: { [self] _, message in
                    guard case .answer(let answer) = message else { throw MigrationError.unexpected("no answer") }
                    take(answer)
                }))
    }

    func read(offset: UInt64, length: Int, finish: @escaping @Sendable (CInt, UnsafeRawBufferPointer) -> Void) {
        ask(Question(kind: .read, offset: offset, length: length, finish: finish))
    }

    func flush(finish: @escaping @Sendable (CInt) -> Void) {
        ask(Question(kind: .flush, offset: 0, length: 0) { error, _ in finish(error) })
    }

    private func ask(_ question: Question) {
        let id = state.withLockedValue { state in
            defer { state.nextID += 1 }
            state.open[state.nextID] = question
            return state.nextID
        }
        send(id, question)
    }

    private func askAgain() {
        for (id, question) in state.withLockedValue({ $0.open }) { send(id, question) }
    }

    private func send(_ id: UInt64, _ question: Question) {
        channels.send(
            .request(
                ForwardRequest(
                    id: id, kind: question.kind, isForced: false, mayPunchHole: true, offset: question.offset,
                    length: UInt64(question.length), payload: ByteBuffer())), on: .demand)
    }

    private func take(_ answer: ForwardAnswer) {
        guard let question = state.withLockedValue({ $0.open.removeValue(forKey: answer.id) }) else { return }
        answer.payload.withUnsafeReadableBytes { question.finish(answer.error, $0) }
    }
}
