/// Entries that one thread has collected, partitioned by the first bits of their fingerprints.
///
/// A full partition is written to a scratch file, so memory stays bounded: 16 MiB for each thread. Partitions of the
/// same number from all threads are later sorted together.
struct EntryPartitioner: Sendable {
    /// Bytes of memory for all partitions of a thread.
    private static let memory = 16 << 20

    private let scratch: ScratchFile
    private let bits: Int
    private let limit: Int
    private var partitions: [[CatalogueEntry]]
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
        partitions = Array(repeating: [], count: 1 << bits)
        written = Array(repeating: [], count: 1 << bits)
    }

    mutating func append(_ entry: CatalogueEntry) throws {
        count += 1
        let partition = Int(entry.high >> UInt64(64 - bits))
        partitions[partition].append(entry)
        guard partitions[partition].count == limit else { return }
        written[partition].append(try partitions[partition].withUnsafeBytes { try scratch.append($0) })
        partitions[partition].removeAll(keepingCapacity: true)
    }

    /// Returns how many entries were added to a partition.
    func count(ofPartition partition: Int) -> Int { written[partition].count * limit + partitions[partition].count }

    /// Copies a partition to the front of `target`.
    func copy(partition: Int, to target: UnsafeMutableBufferPointer<CatalogueEntry>) throws {
        var place = 0
        for offset in written[partition] {
            let part = UnsafeMutableBufferPointer(rebasing: target[place..<place + limit])
            try scratch.read(into: UnsafeMutableRawBufferPointer(part), at: offset)
            place += limit
        }
        _ = UnsafeMutableBufferPointer(rebasing: target[place...]).update(fromContentsOf: partitions[partition])
    }

    /// Returns one partition of several threads, ascending.
    /// - Parameter partitioners: At least one; all have the same number of bits.
    static func sorted(partition: Int, of partitioners: [EntryPartitioner]) throws -> [CatalogueEntry] {
        let count = partitioners.reduce(0) { $0 + $1.count(ofPartition: partition) }
        let entries = UnsafeMutableBufferPointer<CatalogueEntry>.allocate(capacity: count)
        defer { entries.deallocate() }
        var place = 0
        for partitioner in partitioners {
            try partitioner.copy(partition: partition, to: UnsafeMutableBufferPointer(rebasing: entries[place...]))
            place += partitioner.count(ofPartition: partition)
        }
        return EntrySort.sorted(entries, sharing: partitioners[0].bits)
    }
}
