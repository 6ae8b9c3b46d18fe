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
            collect(need.lowerBound..<min(need.upperBound, need.lowerBound + room), &room, &runs)
        }
        guard !runs.isEmpty else { return }
        for run in runs { demanded.formUnion(run) }
        var ahead: [Range<UInt64>] = []
        if request.operation.kind == .read, let last = request.needs.last?.upperBound {
            var room = max(Self.readAheadBytes / blockSize, 1)
            collect(last..<min(geometry.blockCount, last + room), &room, &ahead)
            for run in ahead { demanded.formUnion(run) }
        }
        actions.append(.demand(runs, ahead: ahead))
    }

    /// Adds the missing blocks of a range that are not demanded yet.
    private func collect(_ range: Range<UInt64>, _ room: inout UInt64, _ runs: inout [Range<UInt64>]) {
        var position = range.lowerBound
        while room > 0, position < range.upperBound, let run = map.nextMissing(in: position..<range.upperBound) {
            for part in free(run) {
                for block in part where room > 0 && !demanded.contains(block) {
                    room -= 1
                    if let last = runs.last, last.upperBound == block {
                        runs[runs.count - 1] = last.lowerBound..<block + 1
                    } else {
                        runs.append(block..<block + 1)
                    }
                }
            }
            position = run.upperBound
        }
    }

    mutating func forgetDemand(_ blocks: Range<UInt64>) {
        if UInt64(blocks.count) > UInt64(demanded.count) {
            demanded = demanded.filter { !blocks.contains($0) }
        } else {
            for block in blocks { demanded.remove(block) }
        }
    }
}
