/// Sorts partitions of several threads' entries, one after the other in the same memory.
struct PartitionSorter: ~Copyable {
    private let partitioners: [EntryPartitioner]
    private let collected: EntryMemory
    private let sorted: EntryMemory

    /// Memory of the size of the largest partition, which the next call overwrites.
    var spare: UnsafeMutableRawBufferPointer { UnsafeMutableRawBufferPointer(collected.entries) }

    /// - Parameter partitioners: At least one; all have the same number of bits.
    init(of partitioners: [EntryPartitioner]) {
        self.partitioners = partitioners
        let most = (0..<1 << partitioners[0].bits).map { Self.count($0, partitioners) }.max()!
        collected = EntryMemory(count: most)
        sorted = EntryMemory(count: most)
    }

    /// Returns a partition's entries, ascending; they stand until the next call.
    /// - Throws: `FileError` if the scratch file can't be read.
    mutating func sort(_ partition: Int) throws -> UnsafeMutableBufferPointer<CatalogueEntry> {
        var place = 0
        for partitioner in partitioners {
            try partitioner.copy(partition: partition, to: .init(rebasing: collected.entries[place...]))
            place += partitioner.count(ofPartition: partition)
        }
        let result = UnsafeMutableBufferPointer(rebasing: sorted.entries[..<place])
        EntrySort.sort(.init(rebasing: collected.entries[..<place]), into: result, sharing: partitioners[0].bits)
        return result
    }

    private static func count(_ partition: Int, _ partitioners: [EntryPartitioner]) -> Int {
        partitioners.reduce(0) { $0 + $1.count(ofPartition: partition) }
    }
}
