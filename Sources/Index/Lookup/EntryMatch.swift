import CLinux
import Hashing

/// A catalogue entry that may match a fingerprint; the table's whole fingerprint decides.
struct EntryMatch {
    /// Position of the fingerprint in the batch.
    let place: Int
    /// Position in `IndexSnapshot.tables`.
    let table: Int
    let block: UInt64

    /// Fingerprints that are read together.
    private static let group = 64

    /// Compares each match with the whole fingerprint in its table.
    /// - Parameters:
    ///   - isWanted: Returns whether a fingerprint is the one at that position of the batch.
    ///   - confirmed: Called in order with the index in `matches` of each true match.
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
                        // After a fault in the group, read each piece by itself.
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

    /// - Returns: The number of pieces.
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
