import Block
import BlockModel
import MigrationCore
import MigrationProtocol
import NIOConcurrencyHelpers
import NIOPosix

/// Copies one disk to the destination, round by round.
final class SourceCopy: Sendable {
    /// Changes the progress.
    typealias Update = @Sendable ((inout MigrationProgress) -> Void) -> Void

    static let notingInterval = Duration.milliseconds(200)
    /// The most bytes of messages that are ready before the link has room for them, of all disks of a group. The second
    /// constant is the most seconds that the link takes for them. Much ready data bridges stretches that take long to
    /// compress. Blocks that the guest writes meanwhile are sent in vain.
    static let workingAhead = 32 << 20
    static let secondsAhead = 5.0
    /// The same while the compression level is not settled, and the least, however slow the link is. Bytes.
    static let aheadAtFirst = 4 << 20
    static let leastAhead = Double(1 << 20)

    let dirtyMap: DirtyMap
    let blockMap: SourceBlockMap
    /// Blocks sent since the beginning of the last round that went over all dirty blocks.
    let sentMap: SentMap
    let link: SourceLink
    let manifest: FingerprintFile
    /// The blocks that the destination has, for references from the guest's memory; nil if that does not move.
    let agreed: AgreedDisk?
    private let scanner: ManifestScanner
    private let hasBase: Bool
    private let relative: RelativeSearch?
    private let prefixPatience: Duration
    /// The search for a prefix is over.
    private let hasSearched = WatchedValue(false)
    let sender: BlockSender
    let pools: WorkPools
    let update: Update
    /// Whether the disk is wanted now: the rest of a round is then left.
    let isWanted: @Sendable () -> Bool
    let workingAhead: Int
    let image: any DiskImage
    let free: FreeBlocks
    let speed = NIOLockedValueBox(SendingSpeed())
    let forecast = NIOLockedValueBox(CopyForecast())
    let dirtying: NIOLockedValueBox<DirtyRate>
    let began = ContinuousClock.now
    let lastNoted = NIOLockedValueBox(ContinuousClock.now)

    /// - Parameters:
    ///   - free: the blocks that are sent last, as far as they are known.
    ///   - disks: number of disks that go at the same time.
    ///   - relative: finds a prefix for the stream; nil for none.
    init(
        job: SourceJob, migration: MigrationID, opened: OpenedMigration, free: FreeBlocks, link: SourceLink, disks: Int,
        pools: WorkPools, relative: RelativeSearch? = nil,
        isWanted: @escaping @Sendable () -> Bool, update: @escaping Update
    ) throws {
        let geometry = opened.geometry
        self.isWanted = isWanted
        workingAhead = Self.workingAhead / disks
        dirtyMap = DirtyMap(geometry: geometry)
        blockMap = SourceBlockMap(dirtyMap: dirtyMap)
        sentMap = SentMap(geometry: geometry)
        self.link = link
        self.pools = pools
        self.update = update
        image = job.image
        self.free = free
        dirtying = NIOLockedValueBox(DirtyRate(from: began))
        manifest = try FingerprintFile(geometry: geometry, directory: job.records.directory.scratch)
        agreed = job.hasMemory ? AgreedDisk(name: .migration(migration), manifest: manifest, dirtyMap: dirtyMap) : nil
        hasBase = opened.hasBase
        self.relative = relative
        prefixPatience = job.prefixPatience
        scanner = try ManifestScanner(
            image: job.image, manifest: manifest, dirtyMap: dirtyMap, pool: pools.background,
            compressibility: Compressibility())
        let threads = opened.takesLatePieces ? pools.compressors(for: disks) : 0
        sender = try BlockSender(
            image: job.image, geometry: geometry, manifest: manifest,
            pace: CompressionPace(bitsPerSecond: link.rateLimit, threads: threads), workers: threads)
    }

    var geometry: BlockGeometry { dirtyMap.geometry }

    /// Bytes that the guest has written since they were sent.
    var dirtyBytes: UInt64 { dirtyMap.count() * UInt64(geometry.blockSize) }

    /// Bytes of `dirtyBytes` that are not hot.
    var settledBytes: UInt64 { dirtyMap.count(without: sentMap) * UInt64(geometry.blockSize) }

    /// The time that it would take to send so many bytes of blocks.
    func sendingTime(of bytes: UInt64) -> Duration {
        speed.withLockedValue { $0.time(for: bytes, limit: link.rateLimit) }
    }

    /// Tells the manifest of the whole disk, and sends the blocks that the destination wants of it; both at once.
    func firstRound(_ receiver: inout SourceReceiver) async throws {
        update {
            $0.round = 1
            $0.done = 0
            $0.total = geometry.size
        }
        speed.withLockedValue { $0.begin() }
        try await beginForecast()
        let exchange = ManifestExchange(
            scanner: scanner, geometry: geometry, link: link, hasBase: hasBase, free: free.blocks,
            blockMap: blockMap)
        let ready = ReadyBatches()
        async let sending: Void = sendAll(ready)
        async let search: Void = searchPrefix()
        try await exchange.run(
            &receiver, isOver: isWanted,
            zeros: { [update] zero, settled in
                update {
                    $0.ledger.zero += zero
                    $0.done += settled
                }
            }, answered: note,
            wanted: { [self] in
                await awaitPrefix()
                try await prepare($0, nothingWaits: $1, ready)
            })
        await search
        try await prepare(putOff: exchange.putOff, ready)
        ready.finish()
        try await sending
        forecast.withLockedValue { $0.endRound() }
    }

    /// Begins to use a prefix if there is one. A failed search costs no more than the prefix: reading the disk will fail
    /// again where that matters.
    private func searchPrefix() async {
        defer { hasSearched.withLockedValue { $0 = true } }
        guard let prefix = try? await relative?.run(isOver: isWanted) else { return }
        sender.use(prefix)
    }

    private func awaitPrefix() async {
        let left = prefixPatience - began.duration(to: .now)
        if left > .zero { await hasSearched.wait(until: { $0 }, atMost: left) }
    }

    /// Sends the blocks that the destination has asked for, until the disk is wanted: then the rest comes later.
    private func sendAll(_ ready: ReadyBatches) async throws {
        do {
            try await ready.sendAll { item, idle, behind in
                guard !isWanted() else { return }
                let ahead = min(1, Double(behind) / Double(limitAhead))
                try await send(item.batch, idle: idle, ahead: ahead, ratio: item.ratio)
                let free = free.bytes(in: item.batch.data?.runs ?? [])
                update {
                    $0.done = min($0.total, $0.done + item.settled)
                    $0.free?.sent += free
                }
                noteDirtyNowAndThen()
            }
        } catch {
            // No more answers come: end the waiting for them.
            link.close()
            throw error
        }
    }

    private func beginForecast() async throws {
        let data = try await pools.urgent.runIfActive { [image] in try image.dataBytes() }
        forecast.withLockedValue { $0.data = data }
    }

    /// Sends blocks that the guest has written since they were sent; the destination takes them unasked.
    /// - Parameters:
    ///   - isFinal: the guest waits, and the round goes on to its end, even if the disk is wanted.
    ///   - isEnough: asked now and then; once true, the rest is left.
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
            agreed?.send(blocks)
            try await send(blocks, isUrgent: isFinal)
            if !isFinal { noteDirtyNowAndThen() }
        }
        if !isFinal, !isWanted(), let rest = try await sender.rest(on: pools.background) {
            try await send(rest, idle: rest.preparing, ratio: nil)
        }
        assert(!isFinal || dirtyBytes == 0, "the guest waits, and all it has written is sent (invariant 1)")
    }

    /// The destination has everything of a round.
    /// - Parameter waited: for its confirmation.
    func roundEnded(waited: Duration) async throws {
        let roundTrip = await link.path()?.shortestRoundTrip ?? .zero
        speed.withLockedValue { $0.end(waited: waited, roundTrip: roundTrip) }
        try await pools.urgent.runIfActive { [manifest] in try manifest.refresh() }
        agreed?.confirm()
        dirtying.withLockedValue { $0.endRound(dirtyBytes, at: .now) }
        noteDirty()
    }

    /// Updates dirty bytes and time left in the progress; not often, as it goes over the whole map.
    func noteDirtyNowAndThen() {
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

    private func note(_ answer: OpenSegments.Answer) {
        let covered = geometry.byteCount(of: answer.blocks)
        let wanted = UInt64(answer.wanted.count * geometry.blockSize)
        forecast.withLockedValue {
            $0.note(
                answered: covered, wanted: wanted, ratio: answer.ratio, after: began.duration(to: .now).inSeconds)
        }
        blockMap.record(found: answer.wants)
        update { $0.ledger.add(answer.wants) }
    }
}
