import CLinux
import Glibc

/// Looks many fingerprints up in one catalogue together, so that the latencies of memory overlap.
///
/// An entry that can't be read, or makes no sense, is a miss.
struct CatalogueSearch: ~Copyable {
    /// Fingerprints whose buckets are read together.
    private static let group = 64
    /// Bytes read of one bucket, at most. Buckets of a sound catalogue are far smaller.
    private static let longestBucket = 64 << 10

    private let catalogue: Catalogue
    private let header: CatalogueHeader
    private let buffer: ReadBuffer
    private let room: Int

    init(_ catalogue: Catalogue) {
        self.catalogue = catalogue
        header = catalogue.header
        // Space for a usual bucket. A longer one is read by itself into the whole buffer.
        room = 256 * header.entryWidth
        buffer = ReadBuffer(count: max(Self.group * room, Self.longestBucket) + 8)
    }

    /// Calls `found` for every entry that may belong to a fingerprint. Calls for one fingerprint come together, in
    /// ascending order of tables.
    /// - Parameters:
    ///   - highs: First halves of fingerprints; ascending is fastest.
    ///   - found: Gets the position in `highs`, the table's position in the catalogue, and the block.
    func run(_ highs: [UInt64], found: (_ place: Int, _ table: Int, _ block: UInt64) -> Void) {
        withUnsafeTemporaryAllocation(of: linux_piece.self, capacity: Self.group) { pieces in
            for start in stride(from: 0, to: highs.count, by: Self.group) {
                search(highs, start..<min(start + Self.group, highs.count), pieces, found)
            }
        }
    }

    private func search(
        _ highs: [UInt64], _ places: Range<Int>, _ pieces: UnsafeMutableBufferPointer<linux_piece>,
        _ found: (Int, Int, UInt64) -> Void
    ) {
        var count = 0
        for place in places {
            let entries = catalogue.entries(ofBucket: header.bucket(highs[place]))
            guard entries.count * header.entryWidth <= room else { continue }
            pieces[count] = piece(entries, at: count * room)
            count += 1
        }
        let areRead = linux_copy_mapped(pieces.baseAddress!, count) == 0
        count = 0
        for place in places {
            let entries = catalogue.entries(ofBucket: header.bucket(highs[place]))
            guard entries.count * header.entryWidth <= room else { continue }
            // After a fault in the group, read each piece by itself.
            if areRead || linux_copy_mapped(pieces.baseAddress! + count, 1) == 0 {
                match(highs[place], place, entries.count, at: count * room, found)
            }
            count += 1
        }
        guard count < places.count else { return }
        for place in places { searchLong(highs[place], place, found) }
    }

    private func searchLong(_ high: UInt64, _ place: Int, _ found: (Int, Int, UInt64) -> Void) {
        var entries = catalogue.entries(ofBucket: header.bucket(high))
        guard entries.count * header.entryWidth > room else { return }
        entries = entries.prefix(Self.longestBucket / header.entryWidth)
        var piece = self.piece(entries, at: 0)
        if linux_copy_mapped(&piece, 1) == 0 { match(high, place, entries.count, at: 0, found) }
    }

    private func piece(_ entries: Range<Int>, at offset: Int) -> linux_piece {
        let start = header.entriesRange.lowerBound + UInt64(entries.lowerBound * header.entryWidth)
        return catalogue.file.piece(
            into: buffer.bytes.baseAddress! + offset, count: entries.count * header.entryWidth, at: start)!
    }

    private func match(
        _ high: UInt64, _ place: Int, _ count: Int, at offset: Int, _ found: (Int, Int, UInt64) -> Void
    ) {
        let wanted = header.rest(high)
        let shift = UInt64(header.blockBits + header.tableBits)
        var (low, end) = (0, count)
        while low < end {
            let middle = (low + end) / 2
            if entry(middle, offset) >> shift < wanted { low = middle + 1 } else { end = middle }
        }
        while low < count {
            let entry = entry(low, offset)
            guard entry >> shift == wanted else { return }
            let table = Int(entry >> UInt64(header.blockBits) & (1 << UInt64(header.tableBits) - 1))
            found(place, table, entry & (1 << UInt64(header.blockBits) - 1))
            low += 1
        }
    }

    private func entry(_ index: Int, _ offset: Int) -> UInt64 {
        let word = buffer.bytes.loadUnaligned(fromByteOffset: offset + index * header.entryWidth, as: UInt64.self)
        return UInt64(littleEndian: word) & (.max >> UInt64(64 - header.entryWidth * 8))
    }
}
