import Block
import NIOCore

@testable import BlockModel
@testable import Migration
@testable import MigrationCore
@testable import MigrationProtocol

/// One forwarding connection at the destination: waits for its disk and for the older connection, and performs requests, as
/// `ForwardConnection` and `ForwardServer` do.
final class SimForwardServer: SimPart {
    private enum Phase {
        case idle
        case waiting
        case serving
        case over
    }

    private let node: SimDestination
    private let id: MigrationID
    private let pipe: SimPipe
    private let number: ArrivalConnection
    private var turn: UInt64 = 0
    private var phase = Phase.idle
    private var queue: [ForwardRequest] = []
    private var inFlight = 0
    private var isClosed = false

    init(_ node: SimDestination, _ id: MigrationID, _ pipe: SimPipe) {
        self.node = node
        self.id = id
        self.pipe = pipe
        number = node.register(pipe)
        node.world.add(self)
    }

    func letGo() { queue = [] }

    func greet(isCommitted: Bool) {
        pipe.send(node.welcome, from: .destination)
        guard let greeted = try? node.machine.forwarderGreeted(id, number, isCommitted: isCommitted) else {
            return node.world.fail("a forwarder of a disk that nobody knows is greeted")
        }
        turn = greeted.turn
        pipe.onMessage[SimPipe.End.destination.rawValue] = { [self] in take($0) }
        pipe.onClosed[SimPipe.End.destination.rawValue] = { [self] in closed() }
        node.perform(greeted.actions)
    }

    private func take(_ message: Message) {
        guard case .request(let request) = message else { return }
        switch phase {
        case .idle:
            queue.append(request)
            phase = .waiting
            node.whenServed(id, over: pipe) { [self] isServed in if isServed { begin() } else { leave() } }
        case .waiting: queue.append(request)
        case .serving: perform(request)
        case .over: break
        }
    }

    private func begin() {
        guard phase == .waiting else { return }
        switch node.machine.beginForwarding(id, number, turn: turn) {
        case .begin: serve()
        case .wait where node.faults.contains(.overlappingForwards): serve()
        case .wait(let older):
            node.connections[older]?.cut()
            node.whenChanged(id) { [self] in begin() }
        case .late: leave()
        }
    }

    private func serve() {
        phase = .serving
        node.machine.forwarderNotIdle(id, number)
        let requests = queue
        queue = []
        for request in requests { perform(request) }
        if isClosed { endIfQuiet() }
    }

    /// This connection is not to have its requests performed.
    private func leave() {
        phase = .over
        node.machine.forwarderNotIdle(id, number)
        node.connections[number] = nil
        pipe.cut()
    }

    private func closed() {
        isClosed = true
        switch phase {
        case .idle: leave()
        // The first of its requests has been read already.
        case .waiting, .over: break
        case .serving: endIfQuiet()
        }
    }

    private func endIfQuiet() {
        guard isClosed, inFlight == 0, phase == .serving else { return }
        phase = .over
        node.connections[number] = nil
        node.perform(node.machine.forwarderEnded(id, number))
    }

    private func perform(_ request: ForwardRequest) {
        let first = Int(request.offset / SimImage.sectorBytes)
        let sectors = first..<first + Int(request.length / SimImage.sectorBytes)
        var payload = request.payload
        let values =
            request.kind == .write
            ? sectors.map { _ in payload.readSlice(length: Int(SimImage.sectorBytes))!.getInteger(at: 0)! as UInt32 }
            : Array(repeating: 0, count: sectors.count)
        let operation = GuestOperation(
            kind: request.kind, sectors: sectors,
            values: request.kind == .read || request.kind == .flush ? [] : values, isForced: request.isForced)
        inFlight += 1
        operation.finish = { [self] error, found in
            inFlight -= 1
            var payload = ByteBuffer()
            for value in found { payload.writeInteger(value) }
            pipe.send(.answer(ForwardAnswer(id: request.id, error: error, payload: payload)), from: .destination)
            endIfQuiet()
        }
        node.submit(operation)
    }
}
