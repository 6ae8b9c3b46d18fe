import NIOCore
import TestSupport

@testable import BlockModel
@testable import Hashing
@testable import Migration
@testable import MigrationCore
@testable import MigrationProtocol

/// Takes the memory of a guest in, as `MemoryConnection` and `MemoryReceiver` do, in simulated time.
final class SimMemoryDestination: SimPart {
    private let memory: SimMemory
    private let world: World
    private let hypervisors: SimHypervisors
    private var pipe: SimPipe?
    private var machine = MemoryDestinationMachine()
    private var unpacker: MemoryUnpacker?
    /// The disks of the offer; nil for those that can't be read here.
    private var disks: [SimDestination?] = []
    private let history: Int
    private var kept: [[UInt8]] = []
    /// The batch in hand.
    private var batch: MemoryUnpacker.Unpacked?
    /// Batches that the source has been told of.
    private var said: UInt64 = 0
    private var isActive = true

    init(_ memory: SimMemory, _ hypervisors: SimHypervisors, _ pipe: SimPipe) {
        self.memory = memory
        self.hypervisors = hypervisors
        self.pipe = pipe
        world = memory.world
        history = world.chance(50) ? 1000 : Int.random(in: 0...40, using: &world.random)
        world.add(self)
        pipe.onMessage[SimPipe.End.destination.rawValue] = { [self] in take($0) }
        pipe.onClosed[SimPipe.End.destination.rawValue] = { [self] in close() }
        if !memory.isCalm, world.chance(5) { later(300_000) { [self] in fail() } }
    }

    func letGo() {
        pipe = nil
        disks = []
        unpacker = nil
    }

    /// The process has gone.
    func crash() {
        pipe?.drop(.destination)
        isActive = false
    }

    func close() {
        isActive = false
        pipe?.cut()
    }

    private func fail() {
        world.note("the destination's hypervisor hangs up")
        pipe?.send(.refused(reason: "the hypervisor"), from: .destination)
        isActive = false
        world.soon(5000) { [self] in close() }
    }

    private func send(_ message: MemoryMessage) { pipe?.send(.memory(message), from: .destination) }

    private func later(_ most: UInt64, _ action: @escaping () -> Void) {
        memory.moves[0].destination.later(most) { [self] in if isActive { action() } }
    }

    // MARK: Messages

    private func take(_ message: Message) {
        guard isActive else { return }
        do { try perform(machine.receive(message)) } catch MigrationError.peerFailed {
            close()
        } catch {
            world.fail("the destination does not take \(message): \(error)")
        }
    }

    private func perform(_ action: MemoryDestinationMachine.Action) throws {
        switch action {
        case .open(let offer): open(offer)
        case .unpack(let batch): later(500) { [self] in attempt { try unpack(batch) } }
        case .repair(let bytes): later(500) { [self] in attempt { try repair(bytes) } }
        case .end(let byteCount, let digest):
            world.check(
                byteCount == unpacker!.byteCount && digest.bytes == unpacker!.digest,
                "the whole memory has another digest than its batches")
            machine.end()
            hypervisors.end()
            sayDelivered()
            send(.ended)
        case .wait: break
        }
    }

    private func attempt(_ action: () throws -> Void) {
        do { try action() } catch { world.fail("the destination does not take a batch: \(error)") }
    }

    private func open(_ offer: MemoryOffer) {
        later(1000) { [self] in
            disks = offer.disks.map { disk in
                guard case .migration(let id) = disk else { return nil }
                return memory.moves.map(\.destination).first { $0.machine.knows(id) }
            }
            unpacker = MemoryUnpacker(history: history, blocks: disks.map { $0?.disk.wholeBlocks ?? 0 })
            send(.accepted(history: UInt32(history), readable: disks.map { $0 != nil }))
            giveBack()
        }
    }

    // MARK: Batches

    private func unpack(_ batch: MemoryBatch) throws {
        let packed = Array(batch.compressed.readableBytesView)
        var unpacked = try packed.withUnsafeBytes { try unpacker!.unpack(batch, $0) }
        for read in unpacked.reads { self.read(read, into: &unpacked.bytes) }
        if !memory.faults.contains(.forgottenPages) { keep(unpacked) }
        guard unpacker!.accept(unpacked) || memory.faults.contains(.believedBatches) else {
            world.note("batch \(machine.delivered) of memory is wrong")
            checkReason(unpacked)
            self.batch = unpacked
            sayDelivered()
            return send(.again(batch: try machine.askAgain()))
        }
        if memory.faults.contains(.forgottenPages) { keep(unpacked) }
        deliver(unpacked.bytes)
    }

    private func keep(_ batch: MemoryUnpacker.Unpacked) {
        kept += batch.literalPages.map { Array(batch.bytes[$0..<$0 + StreamPart.pageBytes]) }
    }

    private func read(_ read: MemoryUnpacker.Read, into bytes: inout [UInt8]) {
        for page in 0..<read.count {
            let place = read.offset + page * read.stride
            var content: [UInt8]
            switch read.place {
            case .disk(let disk, let block):
                let destination = disks[disk]!
                content = memory.page(of: destination.disk.fingerprint(block + UInt64(page), in: destination.image))
            case .sent(let number):
                let index = Int(number) + page
                world.check(index + history >= kept.count, "a page is referred to that is not kept any more")
                content = index < kept.count ? kept[index] : []
            }
            if content.isEmpty { content = [UInt8](repeating: 0, count: StreamPart.pageBytes) }
            bytes.replaceSubrange(place..<place + StreamPart.pageBytes, with: content)
        }
    }

    /// Only a block with other bytes makes a batch wrong.
    private func checkReason(_ batch: MemoryUnpacker.Unpacked) {
        let start = hypervisors.received.count
        let isExplained = batch.reads.contains { read in
            guard case .disk = read.place else { return false }
            return (0..<read.count).contains { page in
                let place = read.offset + page * read.stride
                return batch.bytes[place..<place + 16]
                    != hypervisors.written[start + place..<start + place + 16]
            }
        }
        world.check(isExplained, "a batch is wrong although every block is what the source has")
    }

    private func repair(_ bytes: ByteBuffer) throws {
        batch!.bytes = Array(bytes.readableBytesView)
        guard unpacker!.accept(batch!) else {
            throw MigrationError.unexpected("a repair has other bytes than the source hashed")
        }
        deliver(batch!.bytes)
    }

    private func deliver(_ bytes: [UInt8]) {
        later(300) { [self] in
            hypervisors.receive(bytes)
            let count = machine.deliver()
            let next = machine.next()
            if next == nil || world.chance(50) { sayDelivered(count) }
            if let next { attempt { try perform(next) } }
        }
    }

    private func sayDelivered(_ count: UInt64? = nil) {
        let count = count ?? machine.delivered
        guard count > said else { return }
        said = count
        send(.delivered(batches: count))
    }

    // MARK: Back

    private func giveBack() {
        let bytes = hypervisors.takeBack()
        if !bytes.isEmpty { send(.back(ByteBuffer(bytes: bytes))) }
        guard !hypervisors.isAtEndBack else { return send(.backEnd) }
        later(5000) { [self] in giveBack() }
    }
}
