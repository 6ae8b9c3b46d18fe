/// Reads the free clusters of an NTFS: the bitmap in record 6 of its file table.
///
/// The library libntfs-3g would know more of NTFS. Its licence, GPL, does not allow to link it here, and its tools take no partition
/// of an image. Every number is checked, and each list has an end that is known before it is read.
struct NTFSFreeSpace: FreeSpaceSource {
    private static let bitmapRecord: UInt64 = 6
    private static let volumeRecord: UInt64 = 3
    /// Flags of a volume with which Linux's own driver does not write to it: it is dirty, being resized, upgraded or checked.
    private static let unclean: UInt16 = 0xc037
    /// Bytes of the bitmap that are read at once.
    private static let piece = 1 << 20
    /// 4 PiB of clusters of 4 KiB.
    private static let mostClusters: UInt64 = 1 << 40

    private let volume: NTFSVolume

    /// Reads the boot sector and the place of the file table.
    /// - Throws: `FreeSpaceError`.
    init(_ bytes: DiskBytes) throws {
        volume = try NTFSVolume(bytes)
    }

    func checkIsClean() throws {
        let record = try volume.record(Self.volumeRecord)
        guard case .resident(let value)? = try record.attribute(.volumeInformation), value.count >= 12 else {
            throw FreeSpaceError.malformed
        }
        guard value[8] == 3 else { throw FreeSpaceError.unsupported }
        guard value.littleEndian(UInt16.self, at: 10) & Self.unclean == 0 else { throw FreeSpaceError.notClean }
        try NTFSLog(volume: volume).checkIsClean()
        try NTFSHibernation(volume: volume).check()
    }

    func forEach(_ found: (ByteRun) throws -> Void) throws {
        let clusters = volume.clusters
        guard clusters <= Self.mostClusters,
            let bitmap = try volume.record(Self.bitmapRecord).attribute(.data)
        else { throw FreeSpaceError.malformed }
        let length = (clusters + 7) / 8
        // Behind what has been written, a file reads as zeros, which would be free clusters.
        guard bitmap.writtenBytes >= length, !bitmap.hasHoles else { throw FreeSpaceError.malformed }
        var runs = ClusterRuns(end: clusters)
        var place: UInt64 = 0
        while place < length {
            let count = Int(min(UInt64(Self.piece), length - place))
            for byte in try volume.read(bitmap, at: place, count: count) {
                try runs.take(byte) { try found(byteRun($0)) }
            }
            place += UInt64(count)
        }
        try runs.finish { try found(byteRun($0)) }
    }

    private func byteRun(_ run: Range<UInt64>) -> ByteRun {
        ByteRun(start: run.lowerBound * volume.clusterSize, length: UInt64(run.count) * volume.clusterSize)
    }

    /// Makes runs of the zeros of a bitmap, whose lowest bit comes first.
    private struct ClusterRuns {
        let end: UInt64
        private var place: UInt64 = 0
        private var first: UInt64?

        init(end: UInt64) { self.end = end }

        mutating func take(_ byte: UInt8, _ found: (Range<UInt64>) throws -> Void) throws {
            // Most bytes are all of one kind.
            if byte == 0 ? first != nil : byte == 0xff && first == nil {
                place += 8
                return
            }
            for bit in 0..<8 {
                if byte >> bit & 1 == 0 {
                    first = first ?? place
                } else {
                    try close(found)
                }
                place += 1
            }
        }

        mutating func finish(_ found: (Range<UInt64>) throws -> Void) throws { try close(found) }

        private mutating func close(_ found: (Range<UInt64>) throws -> Void) throws {
            guard let start = first else { return }
            first = nil
            let end = min(place, end)
            if start < end { try found(start..<end) }
        }
    }
}
