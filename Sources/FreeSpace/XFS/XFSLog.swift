/// Tells whether the log of an XFS ends with the record of an unmount, as the kernel does when it mounts.
///
/// The log is a ring of sectors. The first word of each is the number of the pass that wrote it, or a record's magic with that
/// number behind. So the sectors of this pass come first, and then those of the pass before. What looks otherwise is not clean:
/// only a crash leaves such a log.
struct XFSLog {
    private static let magic: UInt32 = 0xfeed_babe
    private static let sector = 512
    /// Sectors that are read at once.
    private static let sectorsAtOnce = 2048
    /// The most sectors from the header of the last record to the end: 256 KiB, and their headers.
    private static let longestRecord = 520
    /// Bytes of a record that one header describes.
    private static let bytesOfHeader = 32768
    /// The place of the flags in an operation, and the flag of an unmount.
    private static let unmount = (place: 9, flag: UInt8(0x20))

    private let bytes: DiskBytes
    private let start: UInt64
    private let sectors: Int

    /// - Parameter superblock: Its numbers have been checked by `XFSFreeSpace`.
    /// - Throws: `FreeSpaceError` if the log is on another device, or beyond the file system.
    init(superblock: [UInt8], bytes: DiskBytes) throws {
        let blockSize = UInt64(superblock.bigEndian(UInt32.self, at: 4))
        let groupBlocks = UInt64(superblock.bigEndian(UInt32.self, at: 84))
        let place = superblock.bigEndian(UInt64.self, at: 48)
        let blocks = UInt64(superblock.bigEndian(UInt32.self, at: 96))
        let groupBits = superblock[124]
        guard place != 0 else { throw FreeSpaceError.unsupported }
        guard (1...32).contains(groupBits), place >> groupBits <= UInt64(UInt32.max), blocks > 0 else {
            throw FreeSpaceError.malformed
        }
        let block = (place >> groupBits) * groupBlocks + (place & (1 << groupBits - 1))
        let (start, isFar) = block.multipliedReportingOverflow(by: blockSize)
        let size = blocks * blockSize
        guard !isFar, start < bytes.size, size <= bytes.size - start else { throw FreeSpaceError.malformed }
        self.bytes = bytes
        self.start = start
        sectors = Int(size) / Self.sector
    }

    /// - Throws: `FreeSpaceError.notClean` if something else than an unmount ends it, or nothing certain.
    func checkIsClean() throws {
        let head = try head()
        for distance in 1...min(Self.longestRecord, sectors) {
            let place = (head + sectors - distance) % sectors
            let header = try sector(place)
            guard header.bigEndian(UInt32.self, at: 0) == Self.magic else { continue }
            guard try isUnmount(header, at: place, endingAt: head) else { break }
            return
        }
        throw FreeSpaceError.notClean
    }

    /// The sector behind the one that was written last.
    private func head() throws -> Int {
        var (first, head) = (UInt32(0), 0)
        for place in stride(from: 0, to: sectors, by: Self.sectorsAtOnce) {
            let count = min(Self.sectorsAtOnce, sectors - place)
            let piece = try bytes.read(at: start + UInt64(place * Self.sector), count: count * Self.sector)
            for index in 0..<count {
                let pass = Self.pass(of: piece, at: index * Self.sector)
                if place + index == 0 { first = pass }
                if pass == first, first > 0, head == 0 { continue }
                guard first > 0, pass == first - 1 else { throw FreeSpaceError.notClean }
                if head == 0 { head = place + index }
            }
        }
        return head
    }

    private static func pass(of bytes: [UInt8], at place: Int) -> UInt32 {
        let word = bytes.bigEndian(UInt32.self, at: place)
        return word == magic ? bytes.bigEndian(UInt32.self, at: place + 4) : word
    }

    private func sector(_ place: Int) throws -> [UInt8] {
        try bytes.read(at: start + UInt64(place * Self.sector), count: Self.sector)
    }

    private func isUnmount(_ header: [UInt8], at place: Int, endingAt head: Int) throws -> Bool {
        let length = Int(header.bigEndian(UInt32.self, at: 12))
        let size = Int(header.bigEndian(UInt32.self, at: 320))
        let isLong = header.bigEndian(UInt32.self, at: 8) & 2 != 0 && size > Self.bytesOfHeader
        let headers = isLong ? (size + Self.bytesOfHeader - 1) / Self.bytesOfHeader : 1
        let end = place + headers + (length + Self.sector - 1) / Self.sector
        guard end % sectors == head, header.bigEndian(UInt32.self, at: 40) == 1 else { return false }
        return try sector((place + headers) % sectors)[Self.unmount.place] & Self.unmount.flag != 0
    }
}
