import NIOCore
import PeerModel
import TestSupport

@testable import BlockModel
@testable import Hashing
@testable import Migration
@testable import MigrationCore
@testable import MigrationProtocol

/// Sends the memory of a guest, as `MemorySourceStream` and `MemorySender` do, in simulated time.
final class SimMemorySource: SimPart {
    private let memory: SimMemory
    private let world: World
    private let hypervisors: SimHypervisors
    /// The migrations to whose disks pages may refer, in the order of the offer.
    private var disks: [SimMigration] = []
    private var readable: [Bool] = []
    private var machine: MemorySourceMachine
    private var packer: MemoryPacker?
    private var pipe: SimPipe?
    private let path: PathState?
    private var pending: [UInt8] = []
    /// The bytes of batches that are not delivered.
    private var kept: [[UInt8]] = []
    /// The bytes on the link of the same batches.
    private var onLink: [UInt64] = []
    private var isActive = true
    private var isFinished = false
    private var hasEndedBack = false

    init(_ memory: SimMemory, _ hypervisors: SimHypervisors) {
        self.memory = memory
        self.hypervisors = hypervisors
        world = memory.world
        disks = memory.moves.compactMap(\.source.agreed)
        machine = MemorySourceMachine(disks: disks.count)
        path =
            world.chance(50)
            ? nil : PathState(roundTrip: .zero, shortestRoundTrip: .milliseconds(10), bytesPerSecond: 5_000_000)
        world.add(self)
    }

    func letGo() {
        pipe = nil
        disks = []
        packer = nil
    }

    func start() {
        let pipe = memory.moves[0].connect(.memory, MigrationID(), isCommitted: false)
        self.pipe = pipe
        pipe.onMessage[SimPipe.End.source.rawValue] = { [self] in take($0) }
        pipe.onClosed[SimPipe.End.source.rawValue] = { [self] in end() }
        send(.offer(MemoryOffer(disks: disks.map { .migration($0.id) })))
        if !memory.isCalm, world.chance(10) { later(300_000) { [self] in cancel() } }
    }

    /// The process has gone.
    func crash() {
        pipe?.drop(.source)
        end()
    }

    private func cancel() {
        world.note("the source's hypervisor hangs up")
        pipe?.send(.cancel(reason: "the hypervisor"), from: .source)
        pipe?.cut()
        end()
    }

    private func end() {
        guard isActive else { return }
        isActive = false
        pipe?.cut()
        if let tally = packer?.tally { world.note("memory: \(tally), \(disks.count) disks") }
        hypervisors.letGo()
        memory.ended(isWhole: isFinished)
    }

    private func send(_ message: MemoryMessage) { pipe?.send(.memory(message), from: .source) }

    private func later(_ most: UInt64, _ action: @escaping () -> Void) {
        memory.node.later(most) { [self] in if isActive { action() } }
    }

    // MARK: From the destination

    private func take(_ message: Message) {
        guard isActive else { return }
        do { perform(try machine.receive(message)) } catch MigrationError.peerFailed {
            end()
        } catch {
            world.fail("the source does not take \(message): \(error)")
        }
    }

    private func perform(_ action: MemorySourceMachine.Action) {
        switch action {
        case .begin(let history, let readable):
            packer = MemoryPacker(parser: SimMemoryParser(), history: history)
            self.readable = readable
            step()
        case .release(let count):
            let waiting = Int(machine.window.sent - count)
            kept.removeFirst(kept.count - waiting)
            onLink.removeFirst(onLink.count - waiting)
        case .repair:
            let bytes = memory.faults.contains(.strayRepairs) ? kept.last! : kept.first!
            later(2000) { [self] in send(.repair(ByteBuffer(bytes: bytes))) }
        case .giveBack(let bytes): hypervisors.receiveBack(bytes)
        case .endBack:
            hypervisors.endBack()
            hasEndedBack = true
            if isFinished { end() }
        case .finish:
            hypervisors.checkIsWhole()
            isFinished = true
            if hasEndedBack { end() }
        }
    }

    // MARK: From the hypervisor

    private func step() {
        guard !(hypervisors.isAtEnd && pending.isEmpty) else {
            machine.end()
            return send(.end(byteCount: packer!.tally.stream, digest: DiskRoot(packer!.digest)))
        }
        if machine.window.mayTake(over: path) || memory.faults.contains(.ignoredWindow) {
            let new = hypervisors.take(most: MemoryBatch.maximumBytes - pending.count)
            pending += new
            if !pending.isEmpty { pack(isWaiting: new.isEmpty || hypervisors.isAtEnd) }
        }
        later(1000) { [self] in step() }
    }

    private func pack(isWaiting: Bool) {
        let most: UInt64 = path == nil ? 128 << 10 : 300_000
        let isFull =
            onLink.reduce(0, +) >= most || onLink.count >= MemoryWindow.mostBatches
            || kept.reduce(0) { $0 + $1.count } >= MemoryWindow.mostStream
        world.check(!isFull, "a batch begins although enough is under way")
        let packed = pending.withUnsafeBytes { packer!.pack($0, isWaiting: isWaiting) { $0.map { place(of: $0) } } }
        guard packed.consumed > 0 else { return }
        let batch = MemoryBatch(
            tokenBytes: packed.tokenBytes, literalBytes: packed.literalBytes, proof: packed.proof,
            compressed: ByteBuffer(bytes: packed.bytes))
        machine.send(stream: UInt64(packed.consumed), onLink: UInt64(packed.bytes.count))
        kept.append(Array(pending.prefix(packed.consumed)))
        onLink.append(UInt64(packed.bytes.count))
        pending.removeFirst(packed.consumed)
        send(.batch(batch))
    }

    /// A block that the destination has as well; nil if there is none.
    private func place(of content: Fingerprint) -> (disk: Int, block: UInt64)? {
        guard let wanted = memory.block(of: content) else { return nil }
        for (disk, migration) in disks.enumerated() where readable[disk] {
            for block in 0..<migration.disk.wholeBlocks
            where migration.manifest[Int(block)] == wanted && migration.isAgreed(block) {
                check(block, of: migration, wanted)
                return (disk, block)
            }
        }
        return nil
    }

    /// While the source has a disk, a block that is not being written is what a page refers to.
    private func check(_ block: UInt64, of migration: SimMigration, _ wanted: Fingerprint) {
        let sectors = migration.disk.sectors(of: block..<block + 1)
        let isKnown = migration.source.moved == nil && !migration.isOver
        guard isKnown, !migration.source.simulation.guest.model.isBeingWritten(sectors) else { return }
        world.check(
            migration.disk.fingerprint(block, in: migration.source.image) == wanted,
            "a page refers to block \(block), which has been written since")
    }
}
