import Block
import Glibc
import Index
import NIOCore

@testable import Hashing
@testable import Migration
@testable import MigrationProtocol

/// Answers what the destination asks of the source's image, as `SupplyLink` does.
final class SimSupply: SimPart {
    private let source: SimSource
    private let id: MigrationID
    private var isCommitted: Bool
    private var isStarted = false
    private var isDropped = false
    private var pipes: [LaneKind: SimPipe] = [:]
    private var replaced: [Range<UInt64>] = []
    /// What both have agreed on at the hand-over, and without what; nil in a later life of the node.
    private var agreed: (manifest: [Fingerprint], missing: [Range<UInt64>])?

    init(_ source: SimSource, _ id: MigrationID, isCommitted: Bool) {
        self.source = source
        self.id = id
        self.isCommitted = isCommitted
        source.world.add(self)
    }

    func letGo() { pipes = [:] }

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
        isCommitted = true
        agreed = (manifest, missing)
    }

    func start() {
        guard !isStarted else { return }
        isStarted = true
        for kind in LaneKind.allCases { connect(kind) }
    }

    func drop() {
        isDropped = true
        for kind in LaneKind.allCases { pipes[kind]?.drop(.source) }
    }

    private func connect(_ kind: LaneKind) {
        guard !isDropped, !source.isReleased else { return }
        let pipe = source.simulation.connect(kind == .demand ? .demand : .bulk, id, isCommitted: isCommitted)
        pipes[kind] = pipe
        if kind == .bulk { replaced = [] }
        pipe.onMessage[SimPipe.End.source.rawValue] = { [self] message in
            if pipes[kind] === pipe, !isDropped { take(message, pipe) }
        }
        pipe.onClosed[SimPipe.End.source.rawValue] = { [self] in
            guard pipes[kind] === pipe else { return }
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

    private func take(_ message: Message, _ pipe: SimPipe) {
        let disk = source.disk
        switch message {
        case .welcome, .refused:
            if case .refused = message { pipe.cut() }
        case .request(let request):
            // Before the hand-over: of the image as it is now.
            if request.kind == .flush {
                return source.synchronize { isDurable in
                    let error = isDurable ? 0 : EIO
                    pipe.send(
                        .answer(ForwardAnswer(id: request.id, error: error, payload: ByteBuffer())), from: .source)
                }
            }
            source.later(300) { [self] in
                let first = Int(request.offset / SimImage.sectorBytes)
                var payload = ByteBuffer()
                for value in source.image.read(first..<first + Int(request.length / SimImage.sectorBytes)) {
                    payload.writeInteger(value)
                }
                pipe.send(.answer(ForwardAnswer(id: request.id, error: 0, payload: payload)), from: .source)
            }
        case .postcopy(.describe(let runs)):
            let fingerprints = runs.flatMap { $0.range!.map { disk.fingerprint($0, in: source.image) } }
            let description = BlockDescription(first: runs[0].first, fingerprints: fingerprints)
            pipe.send(.postcopy(.description(description)), from: .source)
        case .postcopy(.need(let runs)):
            for run in runs {
                for block in run.range! { pipe.send(Self.message(block, disk, source.image), from: .source) }
            }
        case .postcopy(.replaced(let runs)):
            replaced += runs.map { $0.range! }
        case .postcopy(.verify):
            let root = disk.root(manifest(), without: replaced)
            replaced = []
            source.later(2000) { pipe.send(.postcopy(.verified(root)), from: .source) }
        case .postcopy(.complete):
            source.release(id) { [self] isNoted in
                // The destination says it again on the next connection.
                guard isNoted else { return pipe.cut() }
                pipe.send(.postcopy(.released), from: .source)
                source.world.note("released")
            }
        default:
            source.world.fail("the source is asked \(message)")
        }
    }
}
