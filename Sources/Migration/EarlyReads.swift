import Block
import Glibc
import NIOConcurrencyHelpers
import NIOCore
import Peer

/// Answers reads of a disk that has not been handed over, through the source (invariant 13), over the demand lane.
final class EarlyReads: IncomingReader, Sendable {
    private struct Read: Sendable {
        let offset: UInt64
        let length: Int
        let finish: @Sendable (CInt, UnsafeRawBufferPointer) -> Void
    }

    private struct State {
        var nextID: UInt64 = 0
        var open: [UInt64: Read] = [:]
    }

    private let lanes: Lanes
    private let state = NIOLockedValueBox(State())

    init(lanes: Lanes) {
        self.lanes = lanes
    }

    /// Takes the lanes' messages from now on.
    func listen() {
        lanes.listen(
            Lanes.Listener(
                event: { [self] event in if case .up(.demand) = event { askAgain() } },
                message: { [self] _, message in
                    guard case .answer(let answer) = message else { throw MigrationError.unexpected("no answer") }
                    take(answer)
                }))
    }

    func read(offset: UInt64, length: Int, finish: @escaping @Sendable (CInt, UnsafeRawBufferPointer) -> Void) {
        let read = Read(offset: offset, length: length, finish: finish)
        let id = state.withLockedValue { state in
            defer { state.nextID += 1 }
            state.open[state.nextID] = read
            return state.nextID
        }
        ask(id, read)
    }

    private func askAgain() {
        for (id, read) in state.withLockedValue({ $0.open }) { ask(id, read) }
    }

    private func ask(_ id: UInt64, _ read: Read) {
        lanes.send(
            .request(
                RemoteRequest(
                    id: id, kind: .read, isForced: false, mayPunchHole: true, offset: read.offset,
                    length: UInt64(read.length), payload: ByteBuffer())), on: .demand)
    }

    private func take(_ answer: RemoteAnswer) {
        guard let read = state.withLockedValue({ $0.open.removeValue(forKey: answer.id) }) else { return }
        answer.payload.withUnsafeReadableBytes { read.finish(answer.error, $0) }
    }
}
