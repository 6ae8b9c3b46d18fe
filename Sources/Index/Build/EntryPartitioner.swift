/// Entries that one thread has collected, partitioned by the first bits of their fingerprints.
///
/// A full partition is written to a scratch file, so memory stays bounded: 16 MiB for each thread. Partitions of the
/// same number from all threads are later sorted together. Copy it only while it is empty.
struct EntryPartitioner: Sendable {
    /// Bytes of memory for all partitions of a thread.
    private static let memory = 16 << 20

    private let scratch: ScratchFile
    let bits: Int
    /// Entries of a partition that are in memory, at most.
    private let limit: Int
    /// `limit` entries for each partition; nil while there are none.
    private var memory: EntryMemory?
    private var counts: [Int]
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
        counts = Array(repeating: 0, count: 1 << bits)
        written = Array(repeating: [], count: 1 << bits)
    }

    mutating func append(_ entry: CatalogueEntry) throws {
        count += 1
        let partition = Int(entry.high >> UInt64(64 - bits))
        if memory == nil { memory = EntryMemory(count: limit << bits) }
        assert(isKnownUniquelyReferenced(&memory), "entries of two copies would mix")
        let first = partition * limit
        memory!.entries[first + counts[partition]] = entry
        counts[partition] += 1
        guard counts[partition] == limit else { return }
        let full = UnsafeBufferPointer(rebasing: memory!.entries[first..<first + limit])
        written[partition].append(try scratch.append(UnsafeRawBufferPointer(full)))
        counts[partition] = 0
    }

    /// Returns how many entries were added to a partition.
    func count(ofPartition partition: Int) -> Int { written[partition].count * limit + counts[partition] }

    /// Copies a partition to the front of `target`.
    func copy(partition: Int, to target: UnsafeMutableBufferPointer<CatalogueEntry>) throws {
        var place = 0
        for offset in written[partition] {
            let part = UnsafeMutableBufferPointer(rebasing: target[place..<place + limit])
            try scratch.read(into: UnsafeMutableRawBufferPointer(part), at: offset)
            place += limit
        }
        guard let memory else { return }
        let first = partition * limit
        let rest = memory.entries[first..<first + counts[partition]]
        _ = UnsafeMutableBufferPointer(rebasing: target[place...]).update(fromContentsOf: rest)
    }
}
