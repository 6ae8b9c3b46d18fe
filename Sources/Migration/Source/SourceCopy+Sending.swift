import Block
import BlockModel
import MigrationCore
import MigrationProtocol

extension SourceCopy {
    /// Makes batches of the blocks that the destination has asked for.
    /// - Parameter nothingWaits: no further answer waits to be prepared.
    func prepare(_ answer: OpenSegments.Answer, nothingWaits: Bool, _ ready: ReadyBatches) async throws {
        try await prepareBatches(of: answer, ready)
        // Flush now: no later batch will carry these bytes, and peers may be waiting for them.
        if nothingWaits { try await prepareRest(answer.ratio, ready) }
    }

    private func prepareRest(_ ratio: Double, _ ready: ReadyBatches) async throws {
        guard !isWanted(), let rest = try await sender.rest(on: pools.background) else { return }
        try await ready.put(ReadyBatches.Item(batch: rest, ratio: ratio, settled: 0), limit: limitAhead)
    }

    /// Makes batches of the blocks that have been put off because they are probably free.
    func prepare(putOff: (order: FreeBlocksLast, ratio: Double), _ ready: ReadyBatches) async throws {
        let (order, ratio) = putOff
        var isAny = false
        for part in order.waiting(inPartsOf: sender.batchLimit) {
            guard !isWanted() else { return }
            let settled = UInt64(part.count * geometry.blockSize)
            // Those that the guest has begun to use come in a later round.
            let blocks = part.filter { !dirtyMap.isDirty($0) }
            guard !blocks.isEmpty else {
                update { $0.done = min($0.total, $0.done + settled) }
                continue
            }
            isAny = true
            try await ready.put(
                ReadyBatches.Item(
                    batch: try await sender.batch(blocks[...], on: pools.background), ratio: ratio, settled: settled),
                limit: limitAhead)
        }
        if isAny { try await prepareRest(ratio, ready) }
    }

    private func prepareBatches(of answer: OpenSegments.Answer, _ ready: ReadyBatches) async throws {
        // Marked as if the guest had written them: a later round sends them, or they are named as missing.
        for block in answer.mistaken { dirtyMap.mark(blocks: block..<block + 1) }
        // Blocks that were rewritten since come in a later round; sending them now would be too early.
        let blocks = answer.sending.filter { !dirtyMap.isDirty($0) }
        let settled = answer.settled
        guard !blocks.isEmpty else {
            update { $0.done = min($0.total, $0.done + settled) }
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

    var limitAhead: Int {
        guard sender.isSettled else { return min(workingAhead, Self.aheadAtFirst) }
        guard let carried = sender.bytesPerSecond else { return workingAhead }
        return Int(min(Double(workingAhead), max(Self.leastAhead, carried * Self.secondsAhead)))
    }

    /// Sends ascending blocks that nobody has asked for.
    /// - Parameter isUrgent: the guest waits.
    func send(_ blocks: [UInt64], isUrgent: Bool) async throws {
        for batch in sender.batches(of: blocks) {
            let batch = try await sender.batch(
                batch, on: isUrgent ? pools.urgent : pools.background, isUrgent: isUrgent)
            try await send(batch, idle: batch.preparing, isUrgent: isUrgent, ratio: nil)
            update { $0.done += batch.zeroBytes + batch.dataBytes }
        }
    }

    /// - Parameters:
    ///   - idle: how long there was nothing to send because of the batch.
    ///   - ahead: filled part of the queue behind it, 0 to 1; nil if nothing may wait.
    ///   - isUrgent: the guest waits, and nothing is asked.
    ///   - ratio: expected compressed size of its blocks, by their size; nil for blocks that nobody has asked for.
    func send(
        _ batch: BlockSender.Batch, idle: Duration, ahead: Double? = nil, isUrgent: Bool = false, ratio: Double?
    ) async throws {
        let asked = ContinuousClock.now
        let path = isUrgent ? nil : await link.path()
        let (waiting, idle, stretch) = try await sender.send(
            batch, idle: idle + asked.duration(to: .now), ahead: ahead, path: path
        ) { message in
            // A switchover does not wait for late bytes: their blocks are missing then, and nothing follows.
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
        blockMap.record(batch)
        update {
            $0.ledger.zero += batch.zeroBytes
            $0.ledger.link += batch.dataBytes
        }
    }
}
