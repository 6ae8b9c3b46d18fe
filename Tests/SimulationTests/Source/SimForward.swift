import Block
import Glibc
import NIOCore

@testable import Migration
@testable import MigrationCore
@testable import MigrationProtocol

/// Carries requests of the source's clients to the destination, as `ForwardLink` does.
final class SimForward: SimPart {
    private let source: SimSource
    private let id: MigrationID
    private var isCommitted: Bool
    private var isStarted = false
    private var isDropped = false
    /// Called once the destination has said that it serves the disk.
    var confirmed: () -> Void = {}
    private var pipe: SimPipe?
    private var pending: [UInt64: (GuestOperation, () -> Void)] = [:]
    /// Requests that wait for room.
    private var waiting: [UInt64] = []
    private var queue: ForwardQueue
    /// Of the losses, those that the guest has been told of.
    private var lossesTold: UInt64 = 0

    /// - Parameter isResumed: the disk was given away in an earlier life of the node.
    init(_ source: SimSource, _ id: MigrationID, isCommitted: Bool, isResumed: Bool = false) {
        queue = ForwardQueue(
            isResumed: isResumed, mayRepeat: source.simulation.switchover == .converged, limit: 4000)
        self.source = source
        self.id = id
        self.isCommitted = isCommitted
        source.world.add(self)
    }

    func letGo() {
        confirmed = {}
        pipe = nil
        pending = [:]
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
        let id = queue.begin()
        pending[id] = (operation, ended)
        guard queue.isReady else { return }
        waiting.append(id)
        sendWaiting()
    }

    private func connect() {
        guard !isDropped else { return }
        let pipe = source.simulation.connect(.forward, id, isCommitted: isCommitted)
        let saysCommitted = isCommitted
        self.pipe = pipe
        pipe.onMessage[SimPipe.End.source.rawValue] = { [self] message in
            take(message, pipe, saysCommitted)
        }
        pipe.onClosed[SimPipe.End.source.rawValue] = { [self] in
            guard self.pipe === pipe else { return }
            disconnected()
            source.later(4000) { [self] in connect() }
        }
    }

    private func take(_ message: Message, _ pipe: SimPipe, _ saysCommitted: Bool) {
        guard self.pipe === pipe, !isDropped else { return }
        switch message {
        case .welcome(let welcome):
            disconnected()
            for request in queue.connected(boot: welcome.boot, isCommitted: saysCommitted) {
                pipe.send(.request(request), from: .source)
            }
            if queue.isReady { becameReady(saysCommitted) }
        case .answer(let answer):
            switch queue.answered(answer.id, error: answer.error) {
            case .nothing: break
            case .ready: becameReady(saysCommitted)
            case .left:
                queue.move(mayRepeat: true)
                pipe.cut()
            case .stays: pipe.cut()
            case .ended(let id, var error):
                let (operation, ended) = pending.removeValue(forKey: id)!
                if operation.kind == .flush {
                    source.remembersAll()
                    if error == 0, lossesTold != queue.losses { error = EIO }
                    lossesTold = queue.losses
                }
                var payload = answer.payload
                operation.finish(
                    error, (0..<payload.readableBytes / 4).map { _ in payload.readInteger(as: UInt32.self)! })
                ended()
            }
            sendWaiting()
        default: pipe.cut()
        }
    }

    private func becameReady(_ saysCommitted: Bool) {
        if saysCommitted {
            source.remembersAll()
            source.simulation.madeAgain()
            confirmed()
        }
        sendAll()
    }

    private func disconnected() {
        queue.disconnected()
        waiting = []
    }

    private func sendAll() {
        waiting = queue.unanswered
        sendWaiting()
    }

    private func sendWaiting() {
        while !queue.isFull, !waiting.isEmpty { send(waiting.removeFirst()) }
    }

    private func send(_ id: UInt64) {
        guard isCommitted, let (operation, _) = pending[id] else { return }
        if operation.isChange, let flush = queue.flushIfDue() { pipe?.send(.request(flush), from: .source) }
        var payload = ByteBuffer()
        // The message has bytes, though the simulation writes only a number for each sector of them.
        for value in operation.kind == .write ? operation.values : [] {
            payload.writeInteger(value)
            payload.writeRepeatingByte(0, count: Int(SimImage.sectorBytes) - MemoryLayout<UInt32>.size)
        }
        let request = ForwardRequest(
            id: id, kind: operation.kind, isForced: operation.isForced, mayPunchHole: true,
            offset: operation.bytes.lowerBound, length: UInt64(operation.bytes.count), payload: payload)
        queue.leaves(request)
        pipe?.send(.request(request), from: .source)
    }
}
