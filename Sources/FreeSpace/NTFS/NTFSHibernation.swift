/// Tells whether Windows sleeps on an NTFS: the file `hiberfil.sys` in its root begins with a word that says so. A start after
/// `shut down` with fast start-up goes on from there, too, and the volume is not marked dirty meanwhile.
struct NTFSHibernation {
    private static let root: UInt64 = 5
    private static let file = "hiberfil.sys"
    /// The word once Windows has woken up, and if it never slept.
    private static let awake: Set<String> = ["wake", "\0\0\0\0"]
    /// Bytes of the root folder.
    private static let mostBytes: UInt64 = 1 << 26
    private static let isLast: UInt16 = 2

    let volume: NTFSVolume

    /// - Throws: `FreeSpaceError.asleep`; others if it can't be told.
    func check() throws {
        let folder = try volume.record(Self.root)
        guard case .resident(let index)? = try folder.attribute(.indexRoot, name: "$I30"), index.count >= 32 else {
            throw FreeSpaceError.malformed
        }
        try checkEntries(of: index, header: 16)
        let blockSize = UInt64(index.littleEndian(UInt32.self, at: 8))
        guard let blocks = try folder.attribute(.indexAllocation, name: "$I30") else { return }
        guard (512...65536).contains(blockSize), blockSize.nonzeroBitCount == 1,
            case .clusters(_, let size, _) = blocks,
            size <= Self.mostBytes
        else { throw FreeSpaceError.malformed }
        for place in stride(from: 0, to: size / blockSize * blockSize, by: Int(blockSize)) {
            let bytes = try volume.read(blocks, at: place, count: Int(blockSize))
            // One that was never used.
            guard bytes.starts(with: "INDX".utf8) else { continue }
            try checkEntries(of: NTFSRecord.whole(bytes, magic: Array("INDX".utf8)), header: 24)
        }
    }

    /// - Parameter header: The place of the header of the entries.
    private func checkEntries(of index: [UInt8], header: Int) throws {
        var place = header + Int(index.littleEndian(UInt32.self, at: header))
        let end = min(index.count, header + Int(index.littleEndian(UInt32.self, at: header + 4)))
        while place + 16 <= end {
            let length = Int(index.littleEndian(UInt16.self, at: place + 8))
            if index.littleEndian(UInt16.self, at: place + 12) & Self.isLast != 0 { return }
            guard length >= 16, length <= end - place else { throw FreeSpaceError.malformed }
            if name(index, place, length) == Self.file { try checkFile(index.littleEndian(at: place)) }
            place += length
        }
        throw FreeSpaceError.malformed
    }

    private func name(_ index: [UInt8], _ place: Int, _ length: Int) -> String? {
        guard length >= 16 + 66 else { return nil }
        let count = Int(index[place + 16 + 64])
        guard count == Self.file.utf8.count, 16 + 66 + count * 2 <= length else { return nil }
        let units = (0..<count).map { index.littleEndian(UInt16.self, at: place + 16 + 66 + $0 * 2) }
        return String(decoding: units, as: UTF16.self).lowercased()
    }

    /// - Parameter reference: Of the file: its record, and how often that had been used.
    private func checkFile(_ reference: UInt64) throws {
        let record = try volume.record(reference & (1 << 48 - 1))
        // An entry that was left behind.
        guard record.sequence == UInt16(reference >> 48) else { return }
        guard let data = try record.attribute(.data) else { throw FreeSpaceError.malformed }
        let word = String(decoding: try volume.read(data, at: 0, count: 4), as: UTF8.self).lowercased()
        guard Self.awake.contains(word) else { throw FreeSpaceError.asleep }
    }
}
