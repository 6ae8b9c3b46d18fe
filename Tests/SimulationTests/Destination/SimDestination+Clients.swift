import Block
import Glibc
import NIOCore

@testable import BlockModel
@testable import Migration
@testable import MigrationCore
@testable import MigrationProtocol

/// Requests of clients, before the switchover and afterwards.
extension SimDestination {
    func submit(_ operation: GuestOperation) {
        if !isServing { return submitEarly(operation) }
        if operation.isChange {
            world.check(
                simulation.source.moved != nil || faults.contains(.lateWord),
                "invariant 5: the destination writes to a disk that it was not given")
        }
        if let resolving, !resolving.isHere(operation) { return resolving.submit(operation) }
        perform(operation) { operation.finish($0, $1) }
    }

    /// Directly on the image.
    func perform(_ operation: GuestOperation, _ done: @escaping (Int32, [UInt32]) -> Void) {
        let half = operation.values.count / 2
        later(200) { [self] in
            if operation.isChange {
                image.write(operation.values, at: operation.sectors.lowerBound, from: 0, to: half)
            }
            let snapshot = operation.kind == .flush ? image.snapshot() : nil
            later(operation.kind == .flush ? 2000 : world.chance(5) ? 20_000 : 300) { [self] in
                if operation.isChange {
                    image.write(
                        operation.values, at: operation.sectors.lowerBound, from: half, to: operation.values.count)
                }
                let isForced = operation.isChange && operation.isForced && resolving == nil
                let isDurable = (isForced ? image.snapshot() : snapshot).map { image.settle($0) } ?? true
                done(isDurable ? 0 : EIO, operation.kind == .read ? image.read(operation.sectors) : [])
            }
        }
    }

    /// Clients are answered before the switchover.
    func expectEarly(_ id: MigrationID, _ switchover: Switchover) {
        guard
            let step = try? machine.expected(id, Self.export, isReadOnly: false, switchover), step == .announce
        else { return }
        machine.announced(Self.export, size: disk.geometry.diskSize)
    }

    /// Clients are answered no more, for a disk that does not come.
    func endEarly() {
        early = []
        earlyReads = [:]
        wantsSwitch = false
        if !isServing { simulation.guest.lostNode(.destination) }
    }

    private func submitEarly(_ operation: GuestOperation) {
        switch operation.kind {
        case .read, .flush:
            if faults.contains(.localEarlyReads) { return perform(operation) { operation.finish($0, $1) } }
            early.append(operation)
            earlyReads[nextEarlyRead] = operation
            askEarly(nextEarlyRead)
            nextEarlyRead += 1
        case .write, .trim, .writeZeroes:
            early.append(operation)
            askForSwitch()
        default:
            later(100) { operation.finish(0, []) }
        }
    }

    func askForSwitch() {
        wantsSwitch = true
        for arrival in arrivals.values { arrival.pipe.send(.postcopy(.switchNow), from: .destination) }
    }

    func sayIfSwitchIsWanted() { if wantsSwitch { askForSwitch() } }

    func askEarly(_ id: UInt64) {
        guard let operation = earlyReads[id] else { return }
        channels[.demand]?.send(
            .request(
                ForwardRequest(
                    id: id, kind: operation.kind, isForced: false, mayPunchHole: true,
                    offset: operation.bytes.lowerBound,
                    length: UInt64(operation.bytes.count), payload: ByteBuffer())), from: .destination)
    }

    func takeEarly(_ answer: ForwardAnswer) {
        guard let operation = earlyReads.removeValue(forKey: answer.id) else { return }
        early.removeAll { $0 === operation }
        var payload = answer.payload
        operation.finish(
            answer.error, (0..<payload.readableBytes / 4).map { _ in payload.readInteger(as: UInt32.self)! })
    }
}
