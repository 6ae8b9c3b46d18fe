/// Entries that one thread has collected, partitioned by the first bits of their fingerprints.
///
/// A full partition is written to a scratch file, so memory stays bounded: 16 MiB for each thread. Partitions of the
/// same number from all threads are later sorted together.
struct EntryPile: Sendable {
    /// Bytes of memory for all partitions of a thread.
    private static let memory = 16 << 20

    private let scratch: ScratchFile
    private let bits: Int
    private let limit: Int
    private var heaps: [[CatalogueEntry]]
    /// Offsets in the scratch file of each partition's earlier entries, `limit` entries at each offset.
    private var written: [[UInt64]]
    private(set) var count: UInt64 = 0

    /// Chooses how many bits select the partition, so that a partition of all threads has about a million entries.
    static func bits(for entries: UInt64) -> Int { entries > 1 << 28 ? 12 : 8 }

    /// - Parameter bits: Bits that select the partition; there are 2^bits partitions.
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

    /// Returns how many entries were added to a partition.
    func count(ofHeap heap: Int) -> Int { written[heap].count * limit + heaps[heap].count }

    /// Copies a partition to the front of `target`.
    func copy(heap: Int, to target: UnsafeMutableBufferPointer<CatalogueEntry>) throws {
        var place = 0
        for offset in written[heap] {
            let part = UnsafeMutableBufferPointer(rebasing: target[place..<place + limit])
            try scratch.read(into: UnsafeMutableRawBufferPointer(part), at: offset)
            place += limit
        }
        _ = UnsafeMutableBufferPointer(rebasing: target[place...]).update(fromContentsOf: heaps[heap])
    }

    /// Returns one partition of several threads, ascending.
    /// - Parameter piles: At least one; all have the same number of bits.
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
