import Block
import BlockModel
import MigrationCore
import MigrationProtocol
import NIOPosix

/// The blocks that a disk leaves for post-copy: named to the destination, so that both agree on what is missing, and
/// durable. As much as possible of that is done ahead of the fence, behind which the guest waits.
struct RemainingBlocks {
    /// Pause between two looks for more to copy during a flush: no event tells what a guest has written.
    private static let copyingInterval = Duration.milliseconds(50)

    private let copy: SourceCopy
    private let link: SourceLink
    private let image: any DiskImage
    private let pool: NIOThreadPool
    /// Blocks of which the destination has been told.
    private var named: BlockSet

    /// - Parameter pool: for work that is waited for.
    init(of copy: SourceCopy, image: any DiskImage, link: SourceLink, pool: NIOThreadPool) {
        self.copy = copy
        self.link = link
        self.image = image
        self.pool = pool
        named = BlockSet(of: copy.geometry.blockCount)
    }

    /// Makes the image durable, but for a little that the guest writes last.
    func flush() async throws {
        try await Self.repeatAhead { try await pool.runIfActive { [image] in try image.synchronize() } }
    }

    /// As `flush`, and copies meanwhile blocks that are worth it.
    /// - Parameter round: the round of the copied blocks.
    func flush(copyingIn round: Int, isOver: () -> Bool) async throws {
        let isFlushed = WatchedValue(false)
        async let flushed: Void = {
            defer { isFlushed.withLockedValue { $0 = true } }
            try await flush()
        }()
        func isEnough() -> Bool { isFlushed.withLockedValue { $0 } || isOver() }
        while !isEnough() {
            if copy.settledBytes > 0 { try await copy.dirtyRound(round, .settled, isEnough: isEnough) }
            await isFlushed.wait(until: { $0 }, atMost: Self.copyingInterval)
            try Task.checkCancellation()
        }
        try await flushed
    }

    /// Names the blocks that are left now, and lets both sides compute their roots without them. Behind the fence only
    /// later writes then remain. Nothing is copied after it; the rounds before must have ended. The destination
    /// confirms it as the end of a round.
    mutating func nameAhead(_ round: Int) async throws {
        let more = copy.takeDirty()
        named.formUnion(more)
        try await tell(more) { try await link.send($0) }
        try await link.send(.roundEnd(UInt32(round)))
        async let flushed: Void = flush()
        try await copy.leave(more)
        try await flushed
    }

    private static func repeatAhead(_ body: () async throws -> Void) async throws {
        var repeats = AheadRepeats()
        var began = ContinuousClock.now
        repeat {
            began = .now
            try await body()
        } while repeats.ended(after: began.duration(to: .now))
    }

    /// Names the rest, behind the fence.
    /// - Returns: the roots of both sides, which must be the same, and the blocks that the destination lacks.
    func agree(
        _ receiver: inout SourceReceiver
    ) async throws -> (ours: DiskRoot, theirs: DiskRoot, missing: BlockSet) {
        // The destination must get later what is here now, whatever happens to this machine.
        async let isDurable: Void = pool.runIfActive { [image] in try image.synchronize() }
        let last = copy.takeDirty()
        try await tell(last) { try await link.sendNow($0) }
        try await link.sendNow(.postcopy(.leave))
        let left = named.union(last)
        // Worked out at the same time as by the destination. If it lacks more than that, the hashes are reused.
        async let leaving = root(of: left, last: last)
        var said = BlockSet(of: copy.geometry.blockCount)
        while true {
            switch try await receiver.next() {
            case .missing(let runs):
                for run in runs { said.insert(run) }
            case .next(.compare(let theirs)):
                let missing = left.union(said)
                var ours = try await leaving
                if missing != left { ours = try await copy.root(without: missing) }
                try await isDurable
                return (ours, theirs, missing)
            default:
                preconditionFailure("the machine lets only answers through")
            }
        }
    }

    private func root(of left: BlockSet, last: BlockSet) async throws -> DiskRoot {
        try await copy.leave(last)
        return try await copy.root(leaving: left)
    }

    private func tell(_ dirty: BlockSet, _ send: (Message) async throws -> Void) async throws {
        for runs in RunChunks(dirty) { try await send(.postcopy(.dirty(runs))) }
    }
}
