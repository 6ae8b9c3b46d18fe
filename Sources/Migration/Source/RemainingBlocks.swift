import Block
import BlockModel
import MigrationProtocol
import NIOConcurrencyHelpers
import NIOPosix

/// What a disk leaves behind that is handed over before all of it is at the destination: named to it, so that both agree on
/// what is missing, and durable. As much of that as possible ahead of the fence, behind which the guest waits.
struct RemainingBlocks {
    /// What both sides have of the disk, which must be the same.
    struct Agreement {
        let ours: DiskRoot
        let theirs: DiskRoot
        let missing: BlockSet
    }

    /// What is repeated ahead of the fence, each time for what the guest has written meanwhile: so often at most, as long as it
    /// takes longer than this, and less than this much of the time before.
    private static let mostRepeats = 5
    private static let quick = Duration.milliseconds(10)
    private static let worthwhile = 0.7
    /// Before it is looked for more to copy during them.
    private static let copyingInterval = Duration.milliseconds(50)

    private let copy: SourceCopy
    private let link: SourceLink
    private let image: RawImage
    private let pool: NIOThreadPool
    /// Of which the destination has been told.
    private var named: BlockSet

    /// - Parameter pool: for what is waited for.
    init(of copy: SourceCopy, image: RawImage, link: SourceLink, pool: NIOThreadPool) {
        self.copy = copy
        self.link = link
        self.image = image
        self.pool = pool
        named = BlockSet(of: copy.geometry.blockCount)
    }

    /// Makes what is in the image durable, but for a little that the guest writes last.
    func flush() async throws {
        try await Self.repeatAhead { _ in try await pool.runIfActive { [image] in try image.synchronize() } }
    }

    /// As `flush`, and copies meanwhile what is worth it.
    /// - Parameter round: that it counts to.
    func flush(copyingIn round: Int, isOver: () -> Bool) async throws {
        let isFlushed = NIOLockedValueBox(false)
        async let flushed: Void = {
            defer { isFlushed.withLockedValue { $0 = true } }
            try await flush()
        }()
        func isEnough() -> Bool { isFlushed.withLockedValue { $0 } || isOver() }
        while !isEnough() {
            if copy.settledBytes > 0 { try await copy.dirtyRound(round, .settled, isEnough: isEnough) }
            try await Task.sleep(for: Self.copyingInterval)
        }
        try await flushed
    }

    /// Names what is left now, and has both sides work out what they have without it, so that behind the fence only that is to
    /// do which the guest writes from here on. Nothing is copied after it; the rounds before must have ended.
    /// - Parameters:
    ///   - round: the next.
    ///   - isOver: asked before each naming; there is then no other.
    mutating func nameAhead(from round: Int, _ inbox: inout SourceInbox, isOver: () -> Bool) async throws {
        var named = named
        try await Self.repeatAhead { number in
            if isOver() { return }
            let round = UInt32(round + number)
            let more = copy.takeDirty()
            named.formUnion(more)
            try await tell(more) { try await link.send($0) }
            try await link.send(.roundEnd(round))
            async let flushed: Void = flush()
            try await copy.leave(more)
            try await flushed
            guard try await inbox.next() == .roundDone(round) else {
                throw MigrationError.unexpected("round \(round) has no end")
            }
        }
        self.named = named
    }

    private static func repeatAhead(_ body: (_ number: Int) async throws -> Void) async throws {
        var last = Duration.seconds(3600)
        for number in 0..<mostRepeats {
            let began = ContinuousClock.now
            try await body(number)
            let took = began.duration(to: .now)
            if took < quick || took > last * worthwhile { return }
            last = took
        }
    }

    /// Names the rest, behind the fence.
    func agree(_ inbox: inout SourceInbox) async throws -> Agreement {
        // What the destination takes from here later must be what was here now, whatever happens to this machine.
        async let isDurable: Void = pool.runIfActive { [image] in try image.synchronize() }
        let last = copy.takeDirty()
        try await tell(last) { try await link.sendNow($0) }
        try await link.sendNow(.postcopy(.leave))
        let left = named.union(last)
        // At the same time as the destination. Where it lacks more than that, what has been hashed need not be again.
        async let leaving = root(of: left, last: last)
        var said = BlockSet(of: copy.geometry.blockCount)
        var end: UInt64 = 0
        while true {
            switch try await inbox.next() {
            case .postcopy(.missing(let runs)):
                for run in try runs.map({ try copy.check($0) }) {
                    guard run.lowerBound >= end else { throw MigrationError.unexpected("missing blocks out of order") }
                    said.insert(run)
                    end = run.upperBound
                }
            case .prepared(let theirs):
                let missing = left.union(said)
                var ours = try await leaving
                if missing != left { ours = try await copy.root(without: missing) }
                try await isDurable
                return Agreement(ours: ours, theirs: theirs, missing: missing)
            default:
                throw MigrationError.unexpected("no root")
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
