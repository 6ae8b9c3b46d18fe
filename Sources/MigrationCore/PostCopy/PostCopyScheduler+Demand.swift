import BlockModel

/// Which blocks are demanded of the source.
extension PostCopyScheduler {
    /// Bytes that one request may have demanded at once.
    private static let demandBytes: UInt64 = 512 << 10
    /// Bytes demanded beyond the end of a read: the next read is often for them.
    private static let readAheadBytes: UInt64 = 64 << 10

    mutating func demand(_ request: Open, _ actions: inout [Action]) {
        var runs: [Range<UInt64>] = []
        let blockSize = UInt64(geometry.blockSize)
        var room = max(Self.demandBytes / blockSize, 1)
        for need in request.needs where room > 0 {
            let part = need.lowerBound..<min(need.upperBound, need.lowerBound + room)
            collect(part, without: request.heldBack, &room, &runs)
        }
        guard !runs.isEmpty else { return }
        for run in runs { demanded.formUnion(run) }
        var ahead: [Range<UInt64>] = []
        if request.operation.kind == .read, let last = request.needs.last?.upperBound {
            var room = max(Self.readAheadBytes / blockSize, 1)
            collect(last..<min(geometry.blockCount, last + room), without: [], &room, &ahead)
            for run in ahead { demanded.formUnion(run) }
        }
        actions.append(.demand(runs, ahead: ahead))
    }

    /// Adds the missing blocks of a range that are neither demanded yet nor held back.
    private func collect(
        _ range: Range<UInt64>, without heldBack: Set<UInt64>, _ room: inout UInt64, _ runs: inout [Range<UInt64>]
    ) {
        for block in freeMissing(in: range).joined()
        where room > 0 && !demanded.contains(block) && !heldBack.contains(block) {
            room -= 1
            runs.append(joining: block)
        }
    }

    mutating func forgetDemand(_ blocks: Range<UInt64>) { _ = takeDemand(blocks) }

    /// Forgets that blocks were demanded.
    /// - Returns: those that were.
    mutating func takeDemand(_ blocks: Range<UInt64>) -> Set<UInt64> {
        let taken =
            UInt64(blocks.count) > UInt64(demanded.count)
            ? demanded.filter { blocks.contains($0) } : Set(blocks.filter(demanded.contains))
        demanded.subtract(taken)
        return taken
    }
}

extension PostCopyScheduler.Open {
    /// The blocks that are not demanded for it now.
    fileprivate var heldBack: Set<UInt64> {
        guard let first = needs.first?.lowerBound, unobtainable.contains(first) else { return unobtainable }
        return unobtainable.subtracting([first])
    }

    /// Blocks that it may need could not be read or stored.
    mutating func holdBack(_ runs: [Range<UInt64>]) {
        for need in needs {
            for run in runs { unobtainable.formUnion(run.clamped(to: need)) }
        }
    }
}
