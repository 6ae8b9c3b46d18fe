import BlockModel

/// Decides which wanted blocks of round 1 wait until all others have been sent: those that the guest's file systems call free.
///
/// It is only an order: every wanted block is sent, and a block that the guest writes is dirty like any other
/// (invariant 1). A free block with the content of one that is sent goes beside it, where the stream's window makes it cost
/// next to nothing. Files that were replaced by equal ones are such blocks.
package struct FreeBlocksLast: Sendable {
    private let free: BlockSet
    /// The blocks that were wanted last with each content.
    private var contents: RepeatCache
    private var deferred: BlockSet
    /// Blocks of `deferred` that were sent after all.
    private var taken: BlockSet

    /// - Parameter free: the blocks that are probably free.
    package init(free: BlockSet) {
        self.free = free
        contents = RepeatCache(blocks: free.isEmpty ? 1 : free.blockCount)
        deferred = BlockSet(of: free.blockCount)
        taken = BlockSet(of: free.blockCount)
    }

    /// Divides the wanted blocks of an answer.
    /// - Parameters:
    ///   - wanted: ascending.
    ///   - prefix: the first half of a wanted block's fingerprint.
    /// - Returns: the blocks to be sent now, ascending. Blocks of earlier answers may be among them.
    package mutating func next(_ wanted: [UInt64], prefix: (UInt64) -> UInt64) -> [UInt64] {
        if free.isEmpty { return wanted }
        var now: [UInt64] = []
        var isAscending = true
        for block in wanted {
            let prefix = prefix(block)
            let same = contents.block(with: prefix)
            let waits = same.map { isWaiting($0) } ?? false
            if free.contains(block), same == nil || waits {
                deferred.insert(block..<block + 1)
            } else {
                now.append(block)
                if let same, waits {
                    taken.insert(same..<same + 1)
                    now.append(same)
                    isAscending = false
                }
            }
            contents.note(prefix, at: block)
        }
        return isAscending ? now : now.sorted()
    }

    private func isWaiting(_ block: UInt64) -> Bool { deferred.contains(block) && !taken.contains(block) }

    /// Whether a block is probably free.
    package func isFree(_ block: UInt64) -> Bool { free.contains(block) }

    /// The blocks that still wait, ascending and in parts, once everything has been answered. None of them is forgotten.
    /// - Parameter limit: the most blocks of a part.
    package func waiting(inPartsOf limit: Int) -> some Sequence<[UInt64]> {
        var runs = deferred.makeIterator()
        var run: Range<UInt64> = 0..<0
        return AnyIterator { [self] in
            var part: [UInt64] = []
            while part.count < limit {
                if run.isEmpty {
                    guard let next = runs.next() else { break }
                    run = next
                }
                let block = run.lowerBound
                run = block + 1..<run.upperBound
                if !taken.contains(block) { part.append(block) }
            }
            return part.isEmpty ? nil : part
        }
    }
}
