import BlockModel
import MigrationProtocol

/// The messages of the source, and the channels over which they come.
extension PostCopyMachine {
    // MARK: Channels

    /// A channel carries messages from now on.
    /// - Parameter capabilities: the source's.
    package mutating func channelUp(
        _ channel: PostCopyChannel, _ capabilities: ProtocolSupport.Capabilities, at now: ContinuousClock.Instant
    ) -> [Action] {
        switch channel {
        case .demand:
            lastTold = capabilities.contains(.hearsOfRest) ? now : nil
            return translate(scheduler.linkFound())
        case .bulk:
            describesRuns = capabilities.contains(.describesRuns)
            return resume(canRank: capabilities.contains(.mostRead))
        }
    }

    /// A channel is gone, and with it every answer that was still to come over it.
    package mutating func channelDown(_ channel: PostCopyChannel) {
        switch channel {
        case .demand: scheduler.linkLost()
        case .bulk:
            fill.linkLost()
            isRanking = false
            awaited = [:]
            bulkGeneration += 1
        }
    }

    private mutating func resume(canRank: Bool) -> [Action] {
        switch phase {
        case .filling where canRank:
            isRanking = true
            return [.send(.rank, on: .bulk)]
        case .filling: return beginFill()
        case .saving, .hashing, .completing: return []
        case .verifying: return askToVerify()
        case .complete(let ledger): return [.send(.complete(ledger), on: .bulk)]
        }
    }

    private mutating func beginFill() -> [Action] {
        guard case .filling = phase else { return [] }
        fill.linkFound(span: describesRuns ? .max : limits.fill.segment)
        return advance()
    }

    // MARK: Messages

    /// The source has sent a message.
    /// - Throws: `MigrationError.unexpected` if it can't stand here; nothing has changed then, and the channel is to end.
    package mutating func receive(_ message: Message, on channel: PostCopyChannel) throws -> [Action] {
        switch message {
        case .answer:
            // It belongs to a read from before the switchover, which has been repeated on this disk since.
            return advance()
        case .data(let segment): return [.store(try received(segment, channel))]
        case .zeros(let range):
            return [.store(Received(channel: channel, runs: [try zeros(range)], data: nil, byteCount: 0))]
        case .postcopy(.unreadable(let range, let error)):
            let blocks = try range.blocks(of: geometry)
            return unreadable(blocks, error: error > 0 ? error : WorkFailure.inputOutput, channel)
        case .postcopy(.mostRead(let ranges)) where channel == .bulk: return try rank(ranges)
        case .postcopy(.free(let runs)) where channel == .bulk: return try postpone(runs)
        case .postcopy(.description(let description)) where channel == .bulk: return [.record(try check(description))]
        case .postcopy(.verified(let root)) where channel == .bulk: return verified(root) + advance()
        case .postcopy(.released) where channel == .bulk:
            guard case .complete = phase else { throw MigrationError.unexpected("a release that nobody asked for") }
            return [.closeChannels]
        default: throw MigrationError.unexpected("a message out of turn")
        }
    }

    private func received(_ segment: DataSegment, _ channel: PostCopyChannel) throws -> Received {
        let runs = try segment.runs.map { try $0.blocks(of: geometry) }
        let limit = UInt64(DataSegment.maximumBytes)
        var bytes: UInt64 = 0
        // A sum of hostile runs must not overflow.
        for run in runs where bytes <= limit { bytes += min(geometry.byteCount(of: run), limit + 1) }
        guard bytes > 0, bytes <= limit else { throw MigrationError.unexpected("too much data in one message") }
        return Received(channel: channel, runs: runs, data: segment, byteCount: Int(bytes))
    }

    /// A few bytes may stand for the whole disk, and what is asked for each block is looked at with the machine locked.
    private func zeros(_ range: BlockRange) throws -> Range<UInt64> {
        guard range.count <= PostcopyMessage.maximumNeeded else {
            throw MigrationError.unexpected("more zeros than one question may ask for")
        }
        return try range.blocks(of: geometry)
    }

    private mutating func unreadable(_ blocks: Range<UInt64>, error: CInt, _ channel: PostCopyChannel) -> [Action] {
        unreadableBlock = blocks.lowerBound
        let actions = translate(scheduler.unavailable(blocks, error: error)) + pause(.sourceCannotRead(error: error))
        count([blocks], channel)
        return actions + advance()
    }

    /// The order in which the rest is best brought begins with what the source's clients have read most.
    private mutating func rank(_ ranges: [BlockRange]) throws -> [Action] {
        let ranges = try ranges.map { try $0.blocks(of: geometry) }
        guard ranges.count <= PostcopyMessage.maximumRanked, ranges.allSatisfy({ $0.count <= limits.partBlocks }) else {
            throw MigrationError.unexpected("more than was read most")
        }
        guard isRanking else { throw MigrationError.unexpected("an answer that nobody asked for") }
        isRanking = false
        fill.rank(ranges)
        return beginFill()
    }

    /// Blocks that are probably free come last, unless somebody reads them.
    private mutating func postpone(_ runs: [BlockRange]) throws -> [Action] {
        let runs = try runs.map { try $0.blocks(of: geometry) }
        guard isRanking, runs.count <= PostcopyMessage.maximumFree else {
            throw MigrationError.unexpected("free blocks out of turn")
        }
        fill.postpone(BlockSet(runs, of: geometry.blockCount))
        return []
    }

    private func check(_ description: BlockDescription) throws -> Description {
        let runs = fill.oldestQuestion.map { question(about: $0) } ?? []
        guard runs.first?.lowerBound == description.first,
            runs.reduce(0, { $0 + $1.count }) == description.fingerprints.count
        else { throw MigrationError.unexpected("fingerprints that nobody asked for") }
        return Description(runs: runs, fingerprints: description.fingerprints, generation: bulkGeneration)
    }

    /// The fingerprints are recorded, and bytes must match them from now on.
    package mutating func described(_ description: Description) -> [Action] {
        for run in description.runs { describedBlocks.mark(run) }
        if description.generation == bulkGeneration { fill.wasDescribed() }
        return advance()
    }

    /// The blocks of a message have been filled, as far as they were still wanted.
    package mutating func stored(_ received: Received) -> [Action] {
        count(received.runs, received.channel)
        return advance()
    }

    /// Blocks have come over a channel, wanted or not.
    private mutating func count(_ runs: [Range<UInt64>], _ channel: PostCopyChannel) {
        guard channel == .bulk else { return }
        for run in runs {
            guard let segment = awaited.keys.first(where: { $0.contains(run.lowerBound) }) else { continue }
            let left = awaited[segment]!
            if left > UInt64(run.count) {
                awaited[segment] = left - UInt64(run.count)
            } else {
                awaited[segment] = nil
                fill.brought(segment)
            }
        }
    }
}
