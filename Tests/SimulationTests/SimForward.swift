import Block
import NIOCore

@testable import Migration

/// Carries requests of the source's clients to the destination, as `ForwardLink` does.
final class SimForward {
    private let source: SimSource
    private let id: MigrationID
    private var isCommitted: Bool
    private var isStarted = false
    private var isDropped = false
    private var pipe: SimPipe?
    private var isConnected = false
    private var pending: [UInt64: (GuestOperation, () -> Void)] = [:]
    private var nextID: UInt64 = 0

    init(_ source: SimSource, _ id: MigrationID, isCommitted: Bool) {
        self.source = source
        self.id = id
        self.isCommitted = isCommitted
    }

    func commit() {
        isCommitted = true
        // The word must reach the destination; on a connection that was made before it is said anew.
        pipe?.cut()
    }

    func start() {
        guard !isStarted else { return }
        isStarted = true
        connect()
    }

    func drop() {
        isDropped = true
        pipe?.drop(.source)
    }

    func forward(_ operation: GuestOperation, _ ended: @escaping () -> Void) {
        pending[nextID] = (operation, ended)
        if isConnected { send(nextID) }
        nextID += 1
    }

    private func connect() {
        guard !isDropped else { return }
        let pipe = source.simulation.connect(.forward, id, isCommitted: isCommitted)
        self.pipe = pipe
        pipe.onMessage[SimPipe.End.source.rawValue] = { [self] message in take(message, pipe) }
        pipe.onClosed[SimPipe.End.source.rawValue] = { [self] in
            guard self.pipe === pipe else { return }
            isConnected = false
            source.later(4000) { [self] in connect() }
        }
    }

    private func take(_ message: Message, _ pipe: SimPipe) {
        guard self.pipe === pipe, !isDropped else { return }
        switch message {
        case .welcome:
            isConnected = true
            for id in pending.keys.sorted() { send(id) }
        case .answer(let answer):
            guard let (operation, ended) = pending.removeValue(forKey: answer.id) else { return }
            var payload = answer.payload
            let found = (0..<payload.readableBytes / 4).map { _ in payload.readInteger(as: UInt32.self)! }
            operation.finish(answer.error, found)
            ended()
        default: pipe.cut()
        }
    }

    private func send(_ id: UInt64) {
        guard isCommitted, let (operation, _) = pending[id] else { return }
        var payload = ByteBuffer()
        for value in operation.kind == .write ? operation.values : [] { payload.writeInteger(value) }
        pipe?.send(
            .request(
                RemoteRequest(
                    id: id, kind: operation.kind, isForced: operation.isForced, mayPunchHole: true,
                    offset: operation.bytes.lowerBound, length: UInt64(operation.bytes.count), payload: payload)),
            from: .source)
    }
}
