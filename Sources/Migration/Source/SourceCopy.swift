import Block
import BlockModel
import MigrationCore
import MigrationProtocol
import NIOConcurrencyHelpers
import NIOPosix

/// The copying of one disk to the destination, round by round.
final class SourceCopy: Sendable {
    /// How a part of the progress changes.
    typealias Update = @Sendable ((inout MigrationProgress) -> Void) -> Void

    private static let notingInterval = Duration.milliseconds(200)
    /// Bytes of messages that are ready before the link has room for them, of all disks of a group, and seconds that the link
    /// takes for them: enough for the stretches of a disk that hardly shrink to make up for those that take long to compress. What
    /// the guest writes meanwhile is sent for nothing.
    private static let workingAhead = 32 << 20
    private static let secondsAhead = 5.0
    /// As long as it is not known how hard there is time to compress; and however slow the link is. Bytes.
    private static let aheadAtFirst = 4 << 20
    private static let leastAhead = Double(1 << 20)

    let dirtyMap: DirtyMap
    /// Since the beginning of the last round that went over all that was dirty.
    private let sentMap: SentMap
    private let link: SourceLink
    private let manifest: FingerprintFile
    private let exchange: ManifestExchange
    private let sender: BlockSender
    private let pools: WorkPools
    private let update: Update
    /// Whether the disk is wanted now: what is left of a round is then left for later.
    private let isWanted: @Sendable () -> Bool
    private let workingAhead: Int
    private let image: RawImage
    private let speed = NIOLockedValueBox(SendingSpeed())
    private let forecast = NIOLockedValueBox(CopyForecast())
    private let dirtying: NIOLockedValueBox<DirtyRate>
    private let began = ContinuousClock.now
    private let lastNoted = NIOLockedValueBox(ContinuousClock.now)

    /// - Parameter disks: that go at the same time.
    init(
        job: SourceJob, opened: OpenedMigration, link: SourceLink, disks: Int, pools: WorkPools,
        isWanted: @escaping @Sendable () -> Bool, update: @escaping Update
    ) throws {
        let geometry = opened.geometry
        self.isWanted = isWanted
        workingAhead = Self.workingAhead / disks
        dirtyMap = DirtyMap(geometry: geometry)
        sentMap = SentMap(geometry: geometry)
        self.link = link
        self.pools = pools
        self.update = update
        image = job.image
        dirtying = NIOLockedValueBox(DirtyRate(from: began))
        manifest = try FingerprintFile(geometry: geometry, directory: job.records.directory.scratch)
        let scanner = try ManifestScanner(
            image: job.image, manifest: manifest, dirtyMap: dirtyMap, pool: pools.background,
            compressibility: Compressibility())
        exchange = ManifestExchange(scanner: scanner, geometry: geometry, link: link, hasBase: opened.hasBase)
        sender = try BlockSender(
            image: job.image, geometry: geometry, manifest: manifest,
            pace: CompressionPace(bitsPerSecond: link.rateLimit),
            workers: opened.takesLatePieces ? pools.compressors(for: disks) : 0)
    }

    var geometry: BlockGeometry { dirtyMap.geometry }

    /// Bytes that the guest has written since they were sent.
    var dirtyBytes: UInt64 { dirtyMap.count() * UInt64(geometry.blockSize) }

    /// Those of them that are not hot.
    var settledBytes: UInt64 { dirtyMap.count(without: sentMap) * UInt64(geometry.blockSize) }

    /// How long the guest would have to wait if it were held back now.
    /// - Parameters:
    ///   - dirty: bytes that would be sent.
    ///   - shares: the disks that are sent at the same time, each as much.
    func expectedPause(for dirty: UInt64, roundTrip: Duration, shares: Int) -> Duration {
        let sending = speed.withLockedValue { $0.time(for: dirty, limit: link.rateLimit) } * shares
        return sending + roundTrip * 2 + .milliseconds(10)
    }

    /// The manifest of the whole disk, and the bytes of what the destination wants of it; both at once.
    func firstRound(_ inbox: inout SourceInbox) async throws {
        update {
            $0.phase = "copying"
            $0.round = 1
            $0.done = 0
            $0.total = geometry.size
        }
        speed.withLockedValue { $0.begin() }
        try await beginForecast()
        let ready = ReadyBatches()
        async let sending: Void = sendAll(ready)
        try await exchange.run(
            &inbox, isOver: isWanted,
            zeros: { [update] zero, settled in
                update {
                    $0.ledger.zero += zero
                    $0.done += settled
                }
            }, answered: note, wanted: { [self] in try await prepare($0, nothingWaits: $1, ready) })
        ready.finish()
        try await sending
        forecast.withLockedValue { $0.endRound() }
    }

    /// Sends what the destination has asked for, until the disk is wanted: then the rest of it comes later.
    private func sendAll(_ ready: ReadyBatches) async throws {
        do {
            try await ready.sendAll { item, idle, behind in
                guard !isWanted() else { return }
                let ahead = min(1, Double(behind) / Double(limitAhead))
                try await send(item.batch, idle: idle, ahead: ahead, ratio: item.ratio)
                update { $0.done += item.settled }
                noteDirtyNowAndThen()
            }
        } catch {
            // Whoever waits for answers waits in vain.
            link.close()
            throw error
        }
    }

    private func beginForecast() async throws {
        let data = try await pools.urgent.runIfActive { [image] in try image.dataBytes() }
        forecast.withLockedValue { $0.data = data }
    }

    /// What the guest has written since it was sent; the destination is not asked, it takes what comes.
    /// - Parameters:
    ///   - isFinal: it goes on to its end, whoever wants the disk, and the guest waits for it.
    ///   - isEnough: asked now and then; the rest is then left.
    func dirtyRound(
        _ round: Int, _ scope: CopyPlan.Scope, isFinal: Bool = false, isEnough: () -> Bool = { false }
    ) async throws {
        if scope == .all { sentMap.clear() }
        let settled = settledBytes
        let left = scope == .all ? 0 : max(dirtyBytes, settled) - settled
        dirtying.withLockedValue { $0.beginRound(leaving: left) }
        update {
            $0.round = round
            $0.done = 0
            $0.total = settled
        }
        speed.withLockedValue { $0.begin() }
        var cursor: UInt64 = 0
        while cursor < geometry.blockCount, isFinal || !(isWanted() || isEnough()) {
            let blocks = dirtyMap.take(from: &cursor, limit: sender.batchLimit, without: sentMap)
            for block in blocks { sentMap.mark(block) }
            try await send(blocks, isUrgent: isFinal)
            if !isFinal { noteDirtyNowAndThen() }
        }
        if !isFinal, !isWanted(), let rest = try await sender.rest(on: pools.background) {
            try await send(rest, idle: rest.preparing, ratio: nil)
        }
        assert(!isFinal || dirtyBytes == 0, "the guest waits, and all it has written is sent (invariant 1)")
    }

    /// Waits until the destination has everything of a round.
    func endRound(_ round: Int, _ inbox: inout SourceInbox) async throws {
        let began = ContinuousClock.now
        try await link.send(.roundEnd(UInt32(round)))
        let answer = try await inbox.next()
        guard answer == .roundDone(UInt32(round)) else {
            throw MigrationError.unexpected("round \(round) has no end")
        }
        let waited = began.duration(to: .now)
        let roundTrip = await link.path()?.shortestRoundTrip ?? .zero
        speed.withLockedValue { $0.end(waited: waited, roundTrip: roundTrip) }
        try await pools.urgent.runIfActive { [manifest] in try manifest.refresh() }
        dirtying.withLockedValue { $0.endRound(dirtyBytes, at: .now) }
        noteDirty()
    }

    /// Brings what the progress says of the guest's writes, and of the time left, up to date; now and then, as it goes over
    /// the whole map.
    private func noteDirtyNowAndThen() {
        let isDue = lastNoted.withLockedValue { last in
            guard last.duration(to: .now) >= Self.notingInterval else { return false }
            last = .now
            return true
        }
        if isDue { noteDirty() }
    }

    private func noteDirty() {
        let dirty = dirtyBytes
        let perSecond = dirtying.withLockedValue { $0.bytesPerSecond(dirty, at: .now) }
        let left = forecast.withLockedValue { $0.secondsLeft(dirty: dirty, dirtyPerSecond: perSecond) }
        update {
            $0.dirty = dirty
            $0.dirtyRate = perSecond
            $0.secondsLeft = left
        }
    }

    /// Takes all that was written since it was sent. What the guest writes meanwhile may be left for the next time.
    func takeDirty() -> BlockSet {
        var taken = BlockSet(of: geometry.blockCount)
        var cursor: UInt64 = 0
        while cursor < geometry.blockCount {
            for block in dirtyMap.take(from: &cursor, limit: 1 << 16) { taken.insert(block..<block + 1) }
        }
        return taken
    }

    /// A run of blocks that a peer names.
    func check(_ range: BlockRange) throws -> Range<UInt64> {
        guard range.count > 0, let blocks = range.range, blocks.upperBound <= geometry.blockCount else {
            throw MigrationError.unexpected("missing blocks beyond the end of the disk")
        }
        return blocks
    }

    /// Takes what will come later out of the ledger's account of this round.
    func note(missing: BlockSet) {
        update { $0.dirty = missing.reduce(0) { $0 + geometry.byteCount(of: $1) } }
    }

    /// What is agreed on where the destination lacks these blocks. Nothing may be sent any more.
    func agreed(without missing: BlockSet) -> SourceRootHash.Agreed {
        SourceRootHash.Agreed(manifest: manifest, missing: missing)
    }

    /// Notes that these blocks do not go over. Nothing may be sent meanwhile.
    func leave(_ blocks: BlockSet) async throws {
        try await pools.urgent.runIfActive { [manifest] in
            try manifest.setZero(blocks)
            try manifest.refresh()
        }
    }

    /// The root of all that was sent, of which these blocks have been left. Nothing may be sent meanwhile.
    func root(leaving blocks: BlockSet) async throws -> DiskRoot {
        try await pools.urgent.runIfActive { [manifest] in try manifest.root(naming: blocks) }
    }

    /// The root of all that was sent but for what is missing at the destination. Nothing may be sent meanwhile.
    func root(without missing: BlockSet) async throws -> DiskRoot {
        try await pools.urgent.runIfActive { [manifest] in try manifest.root(without: missing) }
    }

    /// The root of all that was sent. Nothing may be sent meanwhile.
    func root() async throws -> DiskRoot {
        try await pools.urgent.runIfActive { [manifest] in try manifest.root() }
    }

    private func note(_ answer: OpenSegments.Answer) {
        let covered = geometry.byteCount(of: answer.blocks)
        let wanted = UInt64(answer.wanted.count * geometry.blockSize)
        forecast.withLockedValue {
            $0.note(
                answered: covered, wanted: wanted, ratio: answer.ratio, after: began.duration(to: .now).inSeconds)
        }
        update { $0.ledger.add(answer.wants) }
    }

    /// Makes batches of what the destination has asked for.
    /// - Parameter nothingWaits: nothing more is to be prepared for now.
    private func prepare(_ answer: OpenSegments.Answer, nothingWaits: Bool, _ ready: ReadyBatches) async throws {
        try await prepareBatches(of: answer, ready)
        // What nothing follows would be late for nothing, and others may wait for it.
        guard nothingWaits, !isWanted(), let rest = try await sender.rest(on: pools.background) else { return }
        try await ready.put(ReadyBatches.Item(batch: rest, ratio: answer.ratio, settled: 0), limit: limitAhead)
    }

    private func prepareBatches(of answer: OpenSegments.Answer, _ ready: ReadyBatches) async throws {
        // As if the guest had written them: a later round sends them, or they are named as missing.
        for block in answer.mistaken { dirtyMap.mark(blocks: block..<block + 1) }
        // What was rewritten since comes in a later round, and now would be too early.
        let blocks = answer.wanted.filter { !dirtyMap.isDirty($0) }
        let settled = geometry.byteCount(of: answer.blocks)
        guard !blocks.isEmpty else {
            update { $0.done += settled }
            return noteDirtyNowAndThen()
        }
        for batch in sender.batches(of: blocks) {
            guard !isWanted() else { return }
            try await ready.put(
                ReadyBatches.Item(
                    batch: try await sender.batch(batch, on: pools.background), ratio: answer.ratio,
                    settled: batch.endIndex == blocks.endIndex ? settled : 0),
                limit: limitAhead)
        }
    }

    private var limitAhead: Int {
        guard sender.isSettled else { return min(workingAhead, Self.aheadAtFirst) }
        guard let carried = sender.bytesPerSecond else { return workingAhead }
        return Int(min(Double(workingAhead), max(Self.leastAhead, carried * Self.secondsAhead)))
    }

    /// Sends ascending blocks that nobody has asked for.
    /// - Parameter isUrgent: the guest waits.
    private func send(_ blocks: [UInt64], isUrgent: Bool) async throws {
        for batch in sender.batches(of: blocks) {
            let batch = try await sender.batch(
                batch, on: isUrgent ? pools.urgent : pools.background, isUrgent: isUrgent)
            try await send(batch, idle: batch.preparing, isUrgent: isUrgent, ratio: nil)
            update { $0.done += batch.zeroBytes + batch.dataBytes }
        }
    }

    /// - Parameters:
    ///   - idle: how long there was nothing to send because of the batch.
    ///   - ahead: how much of what may wait behind it does; nil where nothing may.
    ///   - isUrgent: the guest waits, and nothing is asked.
    ///   - ratio: what its blocks may have come to compressed, by their size; nil for what nobody has asked for.
    private func send(
        _ batch: BlockSender.Batch, idle: Duration, ahead: Double? = nil, isUrgent: Bool = false, ratio: Double?
    ) async throws {
        let asked = ContinuousClock.now
        let path = isUrgent ? nil : await link.path()
        let (waiting, idle, stretch) = try await sender.send(
            batch, idle: idle + asked.duration(to: .now), ahead: ahead, path: path
        ) { message in
            // Whoever wants the disk does not wait for late bytes: their blocks are missing then, and nothing follows.
            if !isUrgent, case .data(let segment) = message, segment.runs.isEmpty, isWanted() { return }
            try await link.sendBulk(message)
        }
        speed.withLockedValue { $0.add(batch.dataBytes, in: idle + waiting) }
        forecast.withLockedValue {
            $0.note(
                CopyForecast.Piece(
                    bytes: batch.dataBytes, late: batch.lateBytes, length: batch.compressedBytes,
                    queued: path?.unsent ?? 0,
                    ratio: ratio, waiting: waiting.inSeconds, idle: idle.inSeconds, stretch: stretch,
                    lastingIdle: sender.toleratedIdle))
        }
        update {
            $0.ledger.zero += batch.zeroBytes
            $0.ledger.link += batch.dataBytes
        }
    }
}
