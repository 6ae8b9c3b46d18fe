/// What one thread has collected of entries, in heaps by the fingerprints' first bits.
///
/// A heap that is full goes to a scratch file, so the memory is bounded however many entries come: at most `heaps` times
/// `heapBytes`. The heaps of all threads under the same bits are later sorted as one.
struct EntryPile: Sendable {
    /// A heap is written out when it has that many entries: 16 MiB for each thread in all.
    private static let memory = 16 << 20

    private let scratch: ScratchFile
    private let bits: Int
    private let limit: Int
    private var heaps: [[CatalogueEntry]]
    /// Where each heap's earlier entries stand in the scratch file, `limit` at a time.
    private var written: [[UInt64]]
    private(set) var count: UInt64 = 0

    /// How many bits should choose the heap, where there will be so many entries: then a heap of all threads has about a
    /// million at most.
    static func bits(for entries: UInt64) -> Int { entries > 1 << 28 ? 12 : 8 }

    /// - Parameter bits: how many choose the heap: 2 to the power of it are made.
    init(scratch: ScratchFile, bits: Int) {
        self.scratch = scratch
        self.bits = bits
        limit = (Self.memory / MemoryLayout<CatalogueEntry>.stride) >> bits
        heaps = Array(repeating: [], count: 1 << bits)
        written = Array(repeating: [], count: 1 << bits)
    }

    mutating func append(_ entry: CatalogueEntry) throws {
        count += 1
        let heap = Int(entry.high >> UInt64(64 - bits))
        heaps[heap].append(entry)
        guard heaps[heap].count == limit else { return }
        written[heap].append(try heaps[heap].withUnsafeBytes { try scratch.append($0) })
        heaps[heap].removeAll(keepingCapacity: true)
    }

    /// How many entries a heap has had.
    func count(ofHeap heap: Int) -> Int { written[heap].count * limit + heaps[heap].count }

    /// Copies a heap to the front of `target`.
    func copy(heap: Int, to target: UnsafeMutableBufferPointer<CatalogueEntry>) throws {
        var place = 0
        for offset in written[heap] {
            let part = UnsafeMutableBufferPointer(rebasing: target[place..<place + limit])
            try scratch.read(into: UnsafeMutableRawBufferPointer(part), at: offset)
            place += limit
        }
        _ = UnsafeMutableBufferPointer(rebasing: target[place...]).update(fromContentsOf: heaps[heap])
    }

    /// One heap of several threads, ascending.
    /// - Parameter piles: all of the same number of bits, and at least one.
    static func sorted(heap: Int, of piles: [EntryPile]) throws -> [CatalogueEntry] {
        let count = piles.reduce(0) { $0 + $1.count(ofHeap: heap) }
        let entries = UnsafeMutableBufferPointer<CatalogueEntry>.allocate(capacity: count)
        defer { entries.deallocate() }
        var place = 0
        for pile in piles {
            try pile.copy(heap: heap, to: UnsafeMutableBufferPointer(rebasing: entries[place...]))
            place += pile.count(ofHeap: heap)
        }
        return EntrySort.sorted(entries, sharing: piles[0].bits)
    }
}
