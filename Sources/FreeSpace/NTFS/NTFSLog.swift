/// Tells whether the log of an NTFS has nothing to be done again: its last restart page says so, or it is empty.
struct NTFSLog {
    private static let record: UInt64 = 2
    private static let page: UInt64 = 4096
    private static let magic = Array("RSTR".utf8)
    private static let nobody: UInt16 = 0xffff
    private static let isClean: UInt16 = 2
    /// Windows itself makes 64 MiB at most.
    private static let mostBytes: UInt64 = 1 << 28

    let volume: NTFSVolume

    /// - Throws: `FreeSpaceError`.
    func checkIsClean() throws {
        guard let log = try volume.record(Self.record).attribute(.data), log.writtenBytes >= 2 * Self.page,
            log.writtenBytes <= Self.mostBytes
        else { throw FreeSpaceError.malformed }
        let pages = try [0, Self.page].map { try volume.read(log, at: $0, count: Int(Self.page)) }
        // A torn page is as good as none, as long as the other one is whole.
        let restarts = pages.compactMap { try? Restart($0) }
        guard let last = restarts.max(by: { $0.number < $1.number }) else { return try checkIsEmpty(log) }
        // With version 2, Windows keeps what it knows in memory, to start fast.
        guard restarts.allSatisfy({ $0.version == 1 }) else { throw FreeSpaceError.asleep }
        guard last.client == Self.nobody || last.flags & Self.isClean != 0 else { throw FreeSpaceError.notClean }
    }

    private func checkIsEmpty(_ log: NTFSAttribute) throws {
        let piece: UInt64 = 1 << 20
        for place in stride(from: 0, to: log.writtenBytes, by: Int(piece)) {
            let bytes = try volume.read(log, at: place, count: Int(min(piece, log.writtenBytes - place)))
            guard bytes.allSatisfy({ $0 == 0xff }) else { throw FreeSpaceError.notClean }
        }
    }

    private struct Restart {
        let version: UInt16
        /// The number of the last record.
        let number: UInt64
        let client: UInt16
        let flags: UInt16

        init(_ page: [UInt8]) throws {
            let page = try NTFSRecord.whole(page, magic: magic)
            version = page.littleEndian(at: 28)
            let area = Int(page.littleEndian(UInt16.self, at: 24))
            guard area + 16 <= page.count else { throw FreeSpaceError.malformed }
            number = page.littleEndian(at: area)
            client = page.littleEndian(at: area + 12)
            flags = page.littleEndian(at: area + 14)
        }
    }
}
