import CLinux
import Hashing

/// An entry of a catalogue that may be the one that was asked for: the table has the last word.
struct EntryMatch {
    /// What was asked for.
    let place: Int
    /// The place in `IndexSnapshot.tables`.
    let table: Int
    let block: UInt64

    /// Fingerprints that are read together.
    private static let group = 64

    /// Reads the whole fingerprints.
    /// - Parameters:
    ///   - isWanted: Whether a fingerprint is what was asked for at a place.
    ///   - confirmed: Called with the place in `matches` of each that is right, in order.
    static func confirm(
        _ matches: [EntryMatch], in tables: [Table], _ isWanted: (Int, Fingerprint) -> Bool, confirmed: (Int) -> Void
    ) {
        withUnsafeTemporaryAllocation(of: linux_piece.self, capacity: group) { pieces in
            withUnsafeTemporaryAllocation(byteCount: group * Fingerprint.byteCount, alignment: 8) { bytes in
                for start in stride(from: 0, to: matches.count, by: group) {
                    let part = start..<min(start + group, matches.count)
                    let count = load(matches[part], tables, pieces, bytes)
                    let areRead = linux_copy_mapped(pieces.baseAddress!, count) == 0
                    var piece = 0
                    for index in part where matches[index].block < tables[matches[index].table].header.blockCount {
                        let offset = (index - start) * Fingerprint.byteCount
                        // After a fault each gets a chance of its own.
                        if areRead || linux_copy_mapped(pieces.baseAddress! + piece, 1) == 0,
                            isWanted(
                                matches[index].place,
                                Fingerprint(bytes: .init(rebasing: bytes[offset..<offset + Fingerprint.byteCount])))
                        {
                            confirmed(index)
                        }
                        piece += 1
                    }
                }
            }
        }
    }

    /// Returns how many pieces there are.
    private static func load(
        _ matches: ArraySlice<EntryMatch>, _ tables: [Table], _ pieces: UnsafeMutableBufferPointer<linux_piece>,
        _ bytes: UnsafeMutableRawBufferPointer
    ) -> Int {
        var count = 0
        for (place, match) in matches.enumerated() {
            let table = tables[match.table]
            guard match.block < table.header.blockCount else { continue }
            pieces[count] = table.file.piece(
                into: bytes.baseAddress! + place * Fingerprint.byteCount, count: Fingerprint.byteCount,
                at: table.offset(of: match.block))!
            count += 1
        }
        return count
    }
}
