/// A set of a disk's blocks, in bounded memory. It is a list of runs while these are few, and then a bit for each block
/// of the disk.
public struct BlockSet: Sequence, Sendable {
    private enum Storage: Sendable {
        /// Ascending; no two touch.
        case list([Range<UInt64>])
        /// Shared by copies of the set for reading; only a set that owns it alone writes to it.
        case bits(AtomicBitmap)
    }

    /// The most runs of a list, which take 1 MiB.
    public static let mostListed = 1 << 16

    /// The number of the disk's blocks; every block of the set is below it.
    public let blockCount: UInt64
    private var storage = Storage.list([])

    /// An empty set for a disk of `blockCount` blocks.
    public init(of blockCount: UInt64) {
        self.blockCount = blockCount
    }

    /// A set of the blocks of `runs`, which may come in any order.
    public init(_ runs: some Sequence<Range<UInt64>>, of blockCount: UInt64) {
        self.init(of: blockCount)
        for run in runs { insert(run) }
    }

    /// Whether the set is empty.
    public var isEmpty: Bool {
        var iterator = makeIterator()
        return iterator.next() == nil
    }

    /// Bytes of memory that the set takes, at most.
    public var byteCount: Int {
        switch storage {
        case .list(let runs): runs.count * MemoryLayout<Range<UInt64>>.stride
        case .bits: Int(blockCount / 8)
        }
    }

    /// Whether a block is in the set.
    public func contains(_ block: UInt64) -> Bool {
        switch storage {
        case .list(let runs):
            let place = Self.place(of: block, in: runs)
            return place < runs.count && runs[place].contains(block)
        case .bits(let bitmap): return block < blockCount && bitmap.isSet(block)
        }
    }

    /// Adds blocks of the disk. Adding in ascending order is fastest.
    public mutating func insert(_ run: Range<UInt64>) {
        guard !run.isEmpty else { return }
        precondition(run.upperBound <= blockCount)
        switch storage {
        case .list(var runs):
            storage = .list([])
            Self.insert(run, into: &runs)
            storage = runs.count > Self.mostListed ? .bits(bits(of: runs)) : .list(runs)
        case .bits(var bitmap):
            storage = .list([])
            if !isKnownUniquelyReferenced(&bitmap) {
                let copy = AtomicBitmap(count: blockCount)
                copy.set(allOf: bitmap)
                bitmap = copy
            }
            bitmap.set(run)
            storage = .bits(bitmap)
        }
    }

    /// Adds the blocks of `runs`, all within the disk.
    public mutating func formUnion(_ runs: some Sequence<Range<UInt64>>) {
        for run in runs { insert(run) }
    }

    /// The union of both sets.
    public func union(_ other: BlockSet) -> BlockSet {
        var union = self
        union.formUnion(other)
        return union
    }

    /// The longest runs, ascending.
    /// - Parameter limit: the most runs, more than 0.
    public func longestRuns(limit: Int) -> [Range<UInt64>] {
        var least = 1
        while true {
            let runs = lazy.filter { $0.count >= least }.prefix(limit + 1)
            let found = Array(runs)
            if found.count <= limit { return found }
            least *= 2
        }
    }

    private func bits(of runs: [Range<UInt64>]) -> AtomicBitmap {
        let bitmap = AtomicBitmap(count: blockCount)
        for run in runs { bitmap.set(run) }
        return bitmap
    }

    private static func insert(_ run: Range<UInt64>, into runs: inout [Range<UInt64>]) {
        guard let last = runs.last, run.lowerBound <= last.upperBound else { return runs.append(run) }
        // Runs that touch the new one become one with it.
        let start = run.lowerBound == 0 ? 0 : place(of: run.lowerBound - 1, in: runs)
        var end = start
        var merged = run
        while end < runs.count, runs[end].lowerBound <= run.upperBound {
            let other = runs[end]
            merged = Swift.min(merged.lowerBound, other.lowerBound)..<Swift.max(merged.upperBound, other.upperBound)
            end += 1
        }
        if end == start + 1 { runs[start] = merged } else { runs.replaceSubrange(start..<end, with: [merged]) }
    }

    /// The position of the first run that ends behind a block.
    private static func place(of block: UInt64, in runs: [Range<UInt64>]) -> Int {
        var (low, high) = (0, runs.count)
        while low < high {
            let middle = (low + high) / 2
            if runs[middle].upperBound <= block { low = middle + 1 } else { high = middle }
        }
        return low
    }

    /// Gives one run after the other, ascending; no two touch.
    public struct Iterator: IteratorProtocol {
        fileprivate var list: IndexingIterator<[Range<UInt64>]>
        fileprivate var bits: BitRuns.Iterator?

        /// The next run; nil behind the last.
        public mutating func next() -> Range<UInt64>? { bits == nil ? list.next() : bits!.next() }
    }

    /// Begins with the first run.
    public func makeIterator() -> Iterator {
        switch storage {
        case .list(let runs): Iterator(list: runs.makeIterator(), bits: nil)
        case .bits(let bitmap):
            Iterator(
                list: [].makeIterator(),
                bits: BitRuns(bitmap: bitmap, value: true, range: 0..<blockCount).makeIterator())
        }
    }
}

extension BlockSet: Equatable {
    /// Whether both have the same blocks.
    public static func == (one: BlockSet, other: BlockSet) -> Bool { one.elementsEqual(other) }
}
