import Hashing
import Index
import MigrationProtocol
import NIOCore
import NIOPosix

/// Looks for blocks of one arriving disk on disks that arrive at other hosts of the site. A task that is cancelled gets what
/// there is at once, and the hosts that it waited for are not asked again.
actor ArrivalSearch {
    private struct Answer {
        let peer: ArrivalPeer
        let answer: ArrivalAnswer
        /// The other host has waited as long as it was asked to, and blocks are still to come.
        let moreComes: Bool
    }

    /// An answer to a read, after a look at the blocks.
    private struct Part: Sendable {
        var blocks: [UInt64: BorrowedBlock] = [:]
        /// Blocks with another hash than asked for, and blocks that are not among the bytes.
        var (wrong, missing) = (0, 0)
    }

    /// The most hosts that are asked whether disks arrive there, and of those at which they do.
    static let (mostAsked, mostPeers) = (16, 8)
    /// The most bytes of a segment that are read from other hosts.
    private static let mostBytes = 16 << 20

    private let site: SiteArrivals
    private let order: ArrivalOrder
    private let domains: [String]
    private let blockSize: UInt32
    private let pool: NIOThreadPool
    private var budget: ArrivalBudget
    private var peers: [ArrivalPeer] = []
    /// Hosts that were asked, whatever they have answered.
    private var known: Set<String> = []
    private var hasBegun = false

    /// - Parameter pool: for hashing.
    init(site: SiteArrivals, order: ArrivalOrder, domains: [String], blockSize: UInt32, pool: NIOThreadPool) {
        self.site = site
        self.order = order
        self.domains = domains
        self.blockSize = blockSize
        self.pool = pool
        budget = ArrivalBudget(site.limits)
    }

    /// Finds blocks that are on disks at other hosts, or come there while the budget lasts.
    /// - Parameter prefixes: The first halves of the blocks' fingerprints.
    /// - Returns: Those that were found, by their prefixes.
    func find(_ prefixes: [UInt64]) async -> [UInt64: BorrowedBlock] {
        await meet()
        var seen: Set<UInt64> = []
        var open = prefixes.filter { $0 != 0 && seen.insert($0).inserted }
        var found: [UInt64: BorrowedBlock] = [:]
        var moreComes = true
        while moreComes, !open.isEmpty, !Task.isCancelled {
            dropPeers()
            guard !peers.isEmpty else { break }
            let answers = await ask(open, of: peers)
            moreComes = answers.contains(where: \.moreComes)
            let room = Self.mostBytes / Int(blockSize) - found.count
            found.merge(await read(plan(open, answers, room))) { first, _ in first }
            open.removeAll { found[$0] != nil }
        }
        dropPeers()
        return found
    }

    /// Forgets hosts that can't be asked any more.
    private func dropPeers() {
        peers.removeAll { peer in
            guard budget.isOver(peer.host) else { return !peer.isOpen }
            if peer.isOpen { site.giveUp(peer.host, because: "too little of what it said has come in time") }
            peer.close()
            return true
        }
    }

    private func drop(_ peer: ArrivalPeer) {
        peer.close()
        peers.removeAll { $0 === peer }
    }

    /// Asks hosts that are new whether disks arrive there.
    private func meet() async {
        guard !budget.isSpent else { return }
        let isFirst = !hasBegun
        hasBegun = true
        let hosts = isFirst ? site.hosts.shuffled() : site.asking
        let room = Self.mostAsked - known.count
        let new = hosts.filter { !known.contains($0.name) }.prefix(peers.count < Self.mostPeers ? max(0, room) : 0)
        guard !new.isEmpty else { return }
        known.formUnion(new.map(\.name))
        for met in await ask([], of: new.map { site.connect(to: $0) }) {
            if met.answer.hasDisks, peers.count < Self.mostPeers {
                peers.append(met.peer)
            } else {
                // Once a disk arrives there, it asks, and is asked again.
                if isFirst, !met.answer.hasDisks { known.remove(met.peer.host) }
                met.peer.close()
            }
        }
    }

    /// Asks hosts for blocks. All that take too long, or answer what can't be, are not asked again.
    private func ask(_ prefixes: [UInt64], of peers: [ArrivalPeer]) async -> [Answer] {
        let start = site.now()
        return await withTaskGroup(of: (ArrivalPeer, Duration, Message?, ContinuousClock.Instant).self) { group in
            for peer in peers {
                let step = prefixes.isEmpty ? .zero : budget.step(for: peer.host)
                let limit = budget.patience(for: peer.host, waiting: step)
                group.addTask { [order, domains, blockSize, site] in
                    let milliseconds = UInt32(clamping: Int64(step / .milliseconds(1)))
                    let answer = await peer.ask(atMost: limit) { id in
                        .arrivalQuestion(
                            ArrivalQuestion(
                                id: id, order: order, wait: min(ArrivalQuestion.maximumWait, milliseconds),
                                blockSize: blockSize, domains: domains, prefixes: prefixes))
                    }
                    return (peer, step, answer, site.now())
                }
            }
            var answers: [Answer] = []
            for await (peer, step, answer, end) in group {
                budget.wait(for: peer.host, from: start, to: end)
                guard case .arrivalAnswer(let answer) = answer, answer.has.count == prefixes.count else {
                    drop(peer)
                    continue
                }
                // A host that does not wait, and says that more comes, would be asked at once again.
                let moreComes = answer.isLate && step > .zero && end - start >= step
                answers.append(Answer(peer: peer, answer: answer, moreComes: moreComes))
            }
            return answers
        }
    }

    /// Spreads what several hosts have among them.
    private func plan(_ prefixes: [UInt64], _ answers: [Answer], _ room: Int) -> [(ArrivalPeer, [UInt64])] {
        var plans = answers.map { ($0.peer, [UInt64]()) }
        var room = room
        for (place, prefix) in prefixes.enumerated() where room > 0 {
            let having = answers.indices.filter { answers[$0].answer.has[place] }
            guard let least = having.min(by: { plans[$0].1.count < plans[$1].1.count }) else { continue }
            plans[least].1.append(prefix)
            room -= 1
        }
        return plans.filter { !$0.1.isEmpty }
    }

    private func read(_ plans: [(ArrivalPeer, [UInt64])]) async -> [UInt64: BorrowedBlock] {
        let start = site.now()
        let most = ArrivalRead.maximumBlocks(of: blockSize)
        return await withTaskGroup(of: (ArrivalPeer, Part?, ContinuousClock.Instant).self) { group in
            for (peer, prefixes) in plans {
                let limit = budget.patience(for: peer.host)
                for start in stride(from: 0, to: prefixes.count, by: most) {
                    let part = Array(prefixes[start..<min(start + most, prefixes.count)])
                    group.addTask { [self] in (peer, await read(part, from: peer, atMost: limit), site.now()) }
                }
            }
            var blocks: [UInt64: BorrowedBlock] = [:]
            for await (peer, part, end) in group {
                budget.wait(for: peer.host, from: start, to: end)
                guard let part else {
                    drop(peer)
                    continue
                }
                take(part, from: peer)
                blocks.merge(part.blocks) { first, _ in first }
            }
            return blocks
        }
    }

    private func take(_ part: Part, from peer: ArrivalPeer) {
        for _ in 0..<part.wrong + part.missing { SiteMetrics.countStale() }
        budget.gave(
            peer.host, bytes: UInt64(part.blocks.count) * UInt64(blockSize), kept: part.blocks.count,
            wrong: part.wrong, missing: part.missing)
        if part.wrong > 0, peers.contains(where: { $0 === peer }) {
            site.giveUp(peer.host, because: "\(part.wrong) blocks were not what it said")
            drop(peer)
        }
    }

    private nonisolated func read(
        _ prefixes: [UInt64], from peer: ArrivalPeer, atMost limit: Duration
    ) async -> Part? {
        let answer = await peer.ask(atMost: limit) { [domains, blockSize] id in
            .arrivalRead(ArrivalRead(id: id, blockSize: blockSize, domains: domains, prefixes: prefixes))
        }
        let length = Int(blockSize)
        guard case .arrivalBytes(let bytes) = answer, bytes.has.count == prefixes.count,
            bytes.payload.readableBytes == bytes.has.count(where: \.self) * length
        else { return nil }
        SiteMetrics.countBorrowed(bytes.payload.readableBytes)
        return try? await pool.runIfActive { Self.check(bytes, of: prefixes, length) }
    }

    /// Hashes the blocks of an answer.
    private static func check(_ answer: ArrivalBytes, of prefixes: [UInt64], _ length: Int) -> Part {
        let content = Array(answer.payload.readableBytesView)
        let hasher = BlockHasher()
        var part = Part()
        var offset = 0
        for (prefix, isThere) in zip(prefixes, answer.has) {
            guard isThere else {
                part.missing += 1
                continue
            }
            let bytes = content[offset..<offset + length]
            offset += length
            let fingerprint = bytes.withUnsafeBytes { hasher.fingerprint($0) }
            if fingerprint.high == prefix {
                part.blocks[prefix] = BorrowedBlock(fingerprint: fingerprint, bytes: bytes)
            } else {
                part.wrong += 1
            }
        }
        return part
    }
}
