/// A disk whose blocks begin where its partitions do: equal files on differently placed partitions have equal blocks.
///
/// The disk is cut into *sections*, each of which begins at an *origin*. In the *grid*, each section but the last is filled
/// up with zeros to whole blocks. So blocks of the grid all have one size, and none holds bytes of two sections.
public final class GridLayout: Sendable {
    /// The most origins of a disk.
    public static let maximumOrigins = 128
    /// Origins are multiples of this; bytes.
    public static let unit: UInt64 = 512

    /// Bytes from the start of the disk; ascending.
    public let origins: [UInt64]
    /// Bytes of the disk.
    let diskSize: UInt64
    /// Bytes of the grid: those of the disk, and what fills sections up.
    let size: UInt64
    /// The start of each section on the disk; the first one is 0.
    private let diskStarts: [UInt64]
    /// The start of each section in the grid.
    private let gridStarts: [UInt64]

    /// - Parameters:
    ///   - origins: as `isValid` wants them.
    ///   - diskSize: bytes, at most 2^62.
    ///   - blockSize: bytes; a power of two, 512 to 65536.
    init(origins: [UInt64], diskSize: UInt64, blockSize: Int) {
        precondition(Self.isValid(origins, diskSize: diskSize))
        let blockSize = UInt64(blockSize)
        var last: (disk: UInt64, grid: UInt64) = (0, 0)
        var gridStarts: [UInt64] = [0]
        for origin in origins {
            let blocks = (origin - last.disk + blockSize - 1) / blockSize
            last = (origin, last.grid + blocks * blockSize)
            gridStarts.append(last.grid)
        }
        self.origins = origins
        self.diskSize = diskSize
        self.gridStarts = gridStarts
        diskStarts = [0] + origins
        size = last.grid + (diskSize - last.disk)
    }

    /// Whether these can be origins of a disk. They ascend, lie within it behind its first byte, and are multiples of `unit`;
    /// there are at most `maximumOrigins`.
    public static func isValid(_ origins: [UInt64], diskSize: UInt64) -> Bool {
        var last: UInt64 = 0
        for origin in origins {
            guard origin > last, origin < diskSize, origin % unit == 0 else { return false }
            last = origin
        }
        return origins.count <= maximumOrigins
    }

    /// The origins that a disk needs so that a block begins at each of these places; the first ones if that is too many.
    /// - Parameter places: bytes from the start of the disk, in any order; those that can't be origins are left out.
    public static func origins(for places: [UInt64], diskSize: UInt64, blockSize: Int) -> [UInt64] {
        var origins: [UInt64] = []
        var last: UInt64 = 0
        for place in places.sorted() where place > last && place < diskSize && place % unit == 0 {
            // The grid of the section so far fits this place too.
            if (place - last) % UInt64(blockSize) == 0 { continue }
            guard origins.count < maximumOrigins else { break }
            origins.append(place)
            last = place
        }
        return origins
    }

    /// A number that differs for other origins, but for coincidence; never 0.
    public var digest: UInt64 {
        // FNV-1a.
        let hash = origins.reduce(0xcbf2_9ce4_8422_2325 as UInt64) { hash, origin in
            (0..<8).reduce(hash) { ($0 ^ (origin >> ($1 * 8) & 0xff)) &* 0x100_0000_01b3 }
        }
        return max(hash, 1)
    }

    /// The place in the grid of a byte of the disk. The last section has no end here.
    func grid(ofDisk offset: UInt64) -> UInt64 {
        let index = Self.section(of: offset, diskStarts)
        return gridStarts[index] + (offset - diskStarts[index])
    }

    /// The place on the disk of a byte of the grid; for one that fills a section up, where the next section begins. The last
    /// section has no end here.
    func disk(ofGrid offset: UInt64) -> UInt64 {
        let index = Self.section(of: offset, gridStarts)
        let place = diskStarts[index] + (offset - gridStarts[index])
        return index + 1 < diskStarts.count ? min(place, diskStarts[index + 1]) : place
    }

    /// Calls `body` for each part of a range of the grid that is one run of the disk; ascending.
    /// - Parameters:
    ///   - range: not beyond the end of the grid.
    ///   - body: receives the part, and where the disk has it; nil for bytes that fill a section up.
    public func forEachPart(of range: Range<UInt64>, _ body: (Range<UInt64>, UInt64?) throws -> Void) rethrows {
        var place = range.lowerBound
        var index = Self.section(of: place, gridStarts)
        precondition(range.upperBound <= size, "a range beyond the end of the grid")
        while place < range.upperBound {
            let isLast = index + 1 == gridStarts.count
            let bytes = (isLast ? diskSize : diskStarts[index + 1]) - diskStarts[index]
            let data = place..<max(place, min(gridStarts[index] + bytes, range.upperBound))
            if !data.isEmpty { try body(data, diskStarts[index] + (place - gridStarts[index])) }
            let end = min(isLast ? size : gridStarts[index + 1], range.upperBound)
            if data.upperBound < end { try body(data.upperBound..<end, nil) }
            place = end
            index += 1
        }
    }

    /// The last section that begins at `offset` or before it.
    private static func section(of offset: UInt64, _ starts: [UInt64]) -> Int {
        var (first, end) = (0, starts.count)
        while end - first > 1 {
            let middle = (first + end) / 2
            if starts[middle] <= offset { first = middle } else { end = middle }
        }
        return first
    }
}

extension GridLayout: Equatable {
    /// Whether both have the same origins, and the same sizes of disk and grid.
    public static func == (one: GridLayout, other: GridLayout) -> Bool {
        one.origins == other.origins && one.size == other.size && one.diskSize == other.diskSize
    }
}
