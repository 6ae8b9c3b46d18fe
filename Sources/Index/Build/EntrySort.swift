/// Sorts entries whose first bits agree.
///
/// Hashes spread evenly, so one counting pass puts nearly every entry in its place. Each slot is then sorted by
/// comparison.
enum EntrySort {
    /// Returns the entries ascending.
    /// - Parameter bits: Leading bits that are the same in all fingerprints.
    static func sorted(_ entries: UnsafeMutableBufferPointer<CatalogueEntry>, sharing bits: Int) -> [CatalogueEntry] {
        [CatalogueEntry](unsafeUninitializedCapacity: entries.count) { sorted, initialized in
            sort(entries, into: UnsafeMutableBufferPointer(rebasing: sorted[..<entries.count]), sharing: bits)
            initialized = entries.count
        }
    }

    /// Copies the entries ascending.
    /// - Parameters:
    ///   - sorted: As many entries, uninitialised.
    ///   - bits: Leading bits that are the same in all fingerprints.
    static func sort(
        _ entries: UnsafeMutableBufferPointer<CatalogueEntry>, into sorted: UnsafeMutableBufferPointer<CatalogueEntry>,
        sharing bits: Int
    ) {
        let count = entries.count
        guard count > 64 else {
            _ = sorted.initialize(fromContentsOf: entries)
            return sortFew(sorted)
        }
        let places = 64 - (UInt64(count) / 4).leadingZeroBitCount
        var ends = [UInt32](repeating: 0, count: 1 << places)
        func place(_ entry: CatalogueEntry) -> Int { Int((entry.high << UInt64(bits)) >> UInt64(64 - places)) }
        for entry in entries { ends[place(entry)] += 1 }
        var sum: UInt32 = 0
        for index in ends.indices {
            sum += ends[index]
            ends[index] = sum
        }
        for index in stride(from: count - 1, through: 0, by: -1) {
            let entry = entries[index]
            let slot = place(entry)
            ends[slot] -= 1
            (sorted.baseAddress! + Int(ends[slot])).initialize(to: entry)
        }
        for slot in ends.indices {
            let end = slot + 1 < ends.count ? Int(ends[slot + 1]) : count
            sortFew(UnsafeMutableBufferPointer(rebasing: sorted[Int(ends[slot])..<end]))
        }
    }

    private static func sortFew(_ entries: UnsafeMutableBufferPointer<CatalogueEntry>) {
        guard entries.count > 1 else { return }
        guard entries.count <= 24 else {
            var slice = entries
            return slice.sort()
        }
        for index in 1..<entries.count {
            let entry = entries[index]
            var place = index
            while place > 0, entry < entries[place - 1] {
                entries[place] = entries[place - 1]
                place -= 1
            }
            entries[place] = entry
        }
    }
}
