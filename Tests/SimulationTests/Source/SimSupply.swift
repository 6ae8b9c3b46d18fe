import Block
import Glibc
import Index
import NIOCore

@testable import BlockModel
@testable import Hashing
@testable import Migration
@testable import MigrationCore
@testable import MigrationProtocol

/// Performs what `PostCopySourceMachine` orders, as `PostCopySourceLink` does, in simulated time.
final class SimSupply: SimPart {
    /// Blocks of one part of what clients have read.
    static let partBlocks: UInt64 = 7
    private static let beginning = ContinuousClock.now

    private let source: SimSource
    private let id: MigrationID
    private var machine: PostCopySourceMachine
    private var isStarted = false
    private var isDropped = false
    private var pipes: [PostCopyChannel: SimPipe] = [:]
    /// Messages that wait for the work of the one before.
    private var messages: [PostCopyChannel: [Message]] = [:]
    private var busy: Set<PostCopyChannel> = []
    /// The state on which both sides agreed at the switchover, and the blocks without it; nil in a later life of the node.
    private var agreed: (manifest: [Fingerprint], missing: [Range<UInt64>])?

    init(_ source: SimSource, _ id: MigrationID, isCommitted: Bool) {
        self.source = source
        self.id = id
        let limits = PostCopySourceMachine.Limits(readBytes: source.disk.geometry.diskSize)
        machine = PostCopySourceMachine(geometry: source.disk.geometry, limits: limits)
        source.world.add(self)
        if isCommitted { machine.commit(pathCarries: 0, at: now) }
    }

    func letGo() {
        pipes = [:]
        messages = [:]
    }

    private var now: ContinuousClock.Instant { Self.beginning + .microseconds(Int64(source.world.now)) }

    static func message(_ block: UInt64, _ disk: SimDisk, _ image: SimImage) -> Message {
        message(block, image.read(disk.sectors(of: block..<block + 1)))
    }

    static func message(_ block: UInt64, _ values: [UInt32]) -> Message {
        if values.allSatisfy({ $0 == 0 }) { return .zeros(BlockRange(block..<block + 1)) }
        var bytes = ByteBuffer()
        for value in values { bytes.writeInteger(value) }
        return .data(DataSegment(runs: [BlockRange(block..<block + 1)], compressed: bytes))
    }

    func commit(_ manifest: [Fingerprint], without missing: [Range<UInt64>]) {
        machine.commit(pathCarries: 0, at: now)
        agreed = (manifest, missing)
    }

    func start() {
        guard !isStarted else { return }
        isStarted = true
        for kind in PostCopyChannel.allCases { connect(kind) }
    }

    func drop() {
        isDropped = true
        machine.stop()
        for kind in PostCopyChannel.allCases { pipes[kind]?.drop(.source) }
    }

    private func connect(_ kind: PostCopyChannel) {
        guard !isDropped, !machine.isReleased else { return }
        let pipe = source.simulation.connect(kind == .demand ? .demand : .bulk, id, isCommitted: machine.isCommitted)
        pipes[kind] = pipe
        messages[kind] = []
        busy.remove(kind)
        machine.channelUp(kind)
        pipe.onMessage[SimPipe.End.source.rawValue] = { [self] message in
            guard pipes[kind] === pipe, !isDropped else { return }
            messages[kind, default: []].append(message)
            next(on: kind, pipe)
        }
        pipe.onClosed[SimPipe.End.source.rawValue] = { [self] in
            guard pipes[kind] === pipe else { return }
            machine.channelDown(kind)
            source.later(4000) { [self] in connect(kind) }
        }
    }

    private func manifest() -> [Fingerprint] {
        let disk = source.disk
        guard let agreed else {
            return (0..<disk.geometry.blockCount).map { disk.fingerprint($0, in: source.image) }
        }
        var manifest = agreed.manifest
        for block in agreed.missing.joined() { manifest[Int(block)] = disk.fingerprint(block, in: source.image) }
        return manifest
    }

    /// Takes the messages of a channel one after the other.
    private func next(on kind: PostCopyChannel, _ pipe: SimPipe) {
        guard pipes[kind] === pipe, !isDropped, !busy.contains(kind), let message = messages[kind]?.first
        else { return }
        messages[kind]!.removeFirst()
        if case .welcome = message { return next(on: kind, pipe) }
        do {
            let actions = try machine.receive(message, on: kind, at: now)
            busy.insert(kind)
            perform(actions[...], on: kind, pipe) { [self] in
                guard pipes[kind] === pipe else { return }
                busy.remove(kind)
                machine.answered(on: kind)
                next(on: kind, pipe)
            }
        } catch MigrationError.refused {
            pipe.cut()
        } catch {
            source.world.fail("the source is asked \(message): \(error)")
        }
    }

    private func perform(
        _ actions: ArraySlice<PostCopySourceMachine.Action>, on kind: PostCopyChannel, _ pipe: SimPipe,
        _ done: @escaping () -> Void
    ) {
        guard let action = actions.first else { return done() }
        perform(action, on: kind, pipe) { [self] in perform(actions.dropFirst(), on: kind, pipe, done) }
    }

    private func perform(
        _ action: PostCopySourceMachine.Action, on kind: PostCopyChannel, _ pipe: SimPipe, _ done: @escaping () -> Void
    ) {
        let disk = source.disk
        func send(_ message: Message) { pipe.send(message, from: .source) }
        switch action {
        case .flush(let id):
            source.synchronize { isDurable in
                send(.answer(ForwardAnswer(id: id, error: isDurable ? 0 : EIO, payload: ByteBuffer())))
                done()
            }
        case .read(let id, let offset, let length):
            // Before the switchover: of the image as it is now.
            source.later(300) { [self] in
                let first = Int(offset / SimImage.sectorBytes)
                var payload = ByteBuffer()
                for value in source.image.read(first..<first + length / Int(SimImage.sectorBytes)) {
                    payload.writeInteger(value)
                }
                send(.answer(ForwardAnswer(id: id, error: 0, payload: payload)))
                done()
            }
        case .rank:
            let count = source.disk.geometry.blockCount
            let first = UInt64.random(in: 0..<count, using: &source.world.random)
            if source.world.chance(50) { send(.postcopy(.free([BlockRange(first / 2..<first + 1)]))) }
            send(.postcopy(.mostRead(mostRead())))
            done()
        case .describe(let runs):
            let fingerprints = runs.joined().map { disk.fingerprint($0, in: source.image) }
            send(.postcopy(.description(BlockDescription(first: runs[0].lowerBound, fingerprints: fingerprints))))
            done()
        case .send(let blocks, _):
            makeWay(on: kind) { [self] in
                for block in blocks { send(Self.message(block, disk, source.image)) }
                done()
            }
        case .sendRoot(let replaced):
            let root = disk.root(manifest(), without: Array(replaced))
            source.later(2000) {
                send(.postcopy(.verified(root)))
                done()
            }
        case .recordRelease(let ledger):
            source.release(id) { [self] isRecorded in
                // The destination says it again on the next connection.
                guard isRecorded else { return pipe.cut() }
                perform(machine.released(ledger)[...], on: kind, pipe, done)
            }
        case .sayReleased:
            agreed = nil
            send(.postcopy(.released))
            done()
        case .reportRelease:
            source.world.note("released")
            done()
        }
    }

    private func makeWay(on kind: PostCopyChannel, _ ready: @escaping () -> Void) {
        guard kind == .bulk, machine.mustBulkWait else { return ready() }
        source.later(500) { [self] in makeWay(on: kind, ready) }
    }

    private func mostRead() -> [BlockRange] {
        let count = source.disk.geometry.blockCount
        let first = UInt64.random(in: 0..<count, using: &source.world.random)
        return [first..<min(count, first + Self.partBlocks), first / 2..<min(count, first / 2 + 2)]
            .map { BlockRange($0) }
    }
}
