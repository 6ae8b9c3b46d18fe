/// The value of an attribute of a file.
enum NTFSAttribute {
    /// The kinds that are read here.
    enum Kind: UInt32 {
        case attributeList = 0x20
        case volumeInformation = 0x70
        case data = 0x80
        case indexRoot = 0x90
        case indexAllocation = 0xa0
    }

    /// Clusters one behind the other; nil for a hole.
    struct Run {
        let cluster: UInt64?
        let count: UInt64
    }

    /// In the record itself.
    case resident([UInt8])
    /// In clusters, with the bytes of the value, and those of them that have been written.
    case clusters([Run], size: UInt64, written: UInt64)

    /// Bytes at its start that do not read as zeros for want of having been written.
    var writtenBytes: UInt64 {
        switch self {
        case .resident(let value): UInt64(value.count)
        case .clusters(_, let size, let written): min(size, written)
        }
    }

    /// Whether a part of it has no clusters.
    var hasHoles: Bool {
        guard case .clusters(let runs, _, _) = self else { return false }
        return runs.contains { $0.cluster == nil }
    }

    /// The most runs of a value.
    private static let mostRuns = 1 << 16
    /// The most clusters of a value, so that no sum of bytes overflows.
    private static let mostClusters: UInt64 = 1 << 40

    /// Reads the packed list of runs: each has a byte with two lengths, a count, and a distance from the run before.
    static func runs(_ bytes: ArraySlice<UInt8>) throws -> [Run] {
        var (runs, place, cluster, total): ([Run], Int, Int64, UInt64) = ([], bytes.startIndex, 0, 0)
        while place < bytes.endIndex, bytes[place] != 0 {
            let (countBytes, distanceBytes) = (Int(bytes[place] & 0xf), Int(bytes[place] >> 4))
            place += 1
            guard (1...8).contains(countBytes), distanceBytes <= 8,
                bytes.endIndex - place >= countBytes + distanceBytes, runs.count < mostRuns
            else { throw FreeSpaceError.malformed }
            let count = number(bytes[place..<place + countBytes])
            place += countBytes
            let (next, overflows) = cluster.addingReportingOverflow(number(bytes[place..<place + distanceBytes]))
            place += distanceBytes
            guard count > 0, !overflows, next >= 0, UInt64(count) <= mostClusters, next <= mostClusters else {
                throw FreeSpaceError.malformed
            }
            total += UInt64(count)
            guard total <= mostClusters else { throw FreeSpaceError.malformed }
            if distanceBytes > 0 { cluster = next }
            runs.append(Run(cluster: distanceBytes > 0 ? UInt64(next) : nil, count: UInt64(count)))
        }
        return runs
    }

    /// A little-endian number with a sign.
    private static func number(_ bytes: ArraySlice<UInt8>) -> Int64 {
        guard let last = bytes.last else { return 0 }
        return bytes.reversed().reduce(Int64(Int8(bitPattern: last) < 0 ? -1 : 0)) { $0 << 8 | Int64($1) }
    }
}
