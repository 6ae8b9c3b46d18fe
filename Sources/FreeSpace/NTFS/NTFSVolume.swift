/// The boot sector of an NTFS, and records and contents of its system files.
struct NTFSVolume {
    private static let name = Array("NTFS    ".utf8)

    let bytes: DiskBytes
    /// Bytes.
    let clusterSize: UInt64
    /// Clusters; the last sector, which has a copy of the boot sector, is in none.
    let clusters: UInt64
    private let recordSize: Int
    /// The file table, as far as its first record says.
    private let table: NTFSAttribute

    /// - Throws: `FreeSpaceError`.
    init(_ bytes: DiskBytes) throws {
        self.bytes = bytes
        let boot = try bytes.read(at: 0, count: 512)
        let sector = UInt64(boot.littleEndian(UInt16.self, at: 11))
        let sectors = boot.littleEndian(UInt64.self, at: 40)
        guard boot[3..<11].elementsEqual(Self.name), (256...4096).contains(sector), sector.nonzeroBitCount == 1,
            let perCluster = Self.count(boot[13]), sectors > 0, sectors <= bytes.size / sector
        else { throw FreeSpaceError.malformed }
        clusterSize = sector * perCluster
        clusters = sectors / perCluster
        guard clusterSize <= 2 << 20, clusters > 0, let recordSize = Self.size(boot[64], clusterSize: clusterSize)
        else { throw FreeSpaceError.malformed }
        self.recordSize = recordSize
        let place = boot.littleEndian(UInt64.self, at: 48)
        guard place < clusters else { throw FreeSpaceError.malformed }
        let first = try NTFSRecord(bytes.read(at: place * clusterSize, count: recordSize))
        guard let table = try first.attribute(.data), case .clusters = table else { throw FreeSpaceError.malformed }
        self.table = table
    }

    /// A number of sectors of which large ones are powers of two.
    private static func count(_ byte: UInt8) -> UInt64? {
        let count = byte > 128 ? (byte >= 244 ? 1 << (256 - UInt64(byte)) : 0) : UInt64(byte)
        return count.nonzeroBitCount == 1 ? count : nil
    }

    /// Bytes of a record: a number of clusters, or a power of two.
    private static func size(_ byte: UInt8, clusterSize: UInt64) -> Int? {
        let signed = Int8(bitPattern: byte)
        let size = signed > 0 ? UInt64(signed) * clusterSize : signed >= -16 && signed < 0 ? 1 << UInt64(-signed) : 0
        return (512...65536).contains(size) && size.nonzeroBitCount == 1 ? Int(size) : nil
    }

    /// A record of the file table.
    /// - Throws: `FreeSpaceError`, also if the table goes on where its first record does not say.
    func record(_ number: UInt64) throws -> NTFSRecord {
        guard number < 1 << 40 else { throw FreeSpaceError.malformed }
        return try NTFSRecord(read(table, at: number * UInt64(recordSize), count: recordSize))
    }

    /// Bytes of an attribute's value. Parts that have no clusters are zeros.
    /// - Throws: `FreeSpaceError.malformed` if they are not all within it.
    func read(_ attribute: NTFSAttribute, at offset: UInt64, count: Int) throws -> [UInt8] {
        switch attribute {
        case .resident(let value):
            guard offset <= UInt64(value.count), count <= value.count - Int(offset) else {
                throw FreeSpaceError.malformed
            }
            return Array(value[Int(offset)..<Int(offset) + count])
        case .clusters(let runs, _, _):
            return try read(runs, at: offset, count: count)
        }
    }

    private func read(_ runs: [NTFSAttribute.Run], at offset: UInt64, count: Int) throws -> [UInt8] {
        var result: [UInt8] = []
        result.reserveCapacity(count)
        var start: UInt64 = 0
        for run in runs {
            let end = start + run.count * clusterSize
            let place = offset + UInt64(result.count)
            if place < end, result.count < count {
                let part = Int(min(end - place, UInt64(count - result.count)))
                if let cluster = run.cluster {
                    guard cluster < clusters, run.count <= clusters - cluster else { throw FreeSpaceError.malformed }
                    result += try bytes.read(at: cluster * clusterSize + place - start, count: part)
                } else {
                    result += [UInt8](repeating: 0, count: part)
                }
            }
            start = end
        }
        guard result.count == count else { throw FreeSpaceError.malformed }
        return result
    }
}
