/// Reads the free space of a btrfs on one device: what no chunk has, and what no extent has of the chunks.
///
/// No library reads it from an image: libbtrfs takes a device that is mounted, and btrfs-progs print for people. The format is that
/// of btrfs's `ctree.h`. Checksums and generations of all nodes that are read must fit, so a mounted one whose nodes are just being
/// replaced may have no map.
struct BtrfsFreeSpace: FreeSpaceSource {
    /// The first bytes of the device, which boot loaders use.
    private static let reserved: UInt64 = 1 << 20
    /// Bytes around each superblock that btrfs never gives to an extent.
    private static let superblockRoom: UInt64 = 64 << 10
    private static let extentItem: UInt8 = 168
    private static let metadataItem: UInt8 = 169

    private let trees: BtrfsTrees
    /// Whether counts must fit.
    private let isExact: Bool

    /// Reads the superblock and the chunks.
    /// - Throws: `FreeSpaceError`.
    init(_ bytes: DiskBytes, isExact: Bool = false) throws {
        trees = try BtrfsTrees(bytes)
        self.isExact = isExact
    }

    func checkIsClean() throws {
        if trees.superblock.hasLog { throw FreeSpaceError.notClean }
    }

    func forEach(_ found: (ByteRun) throws -> Void) throws {
        try forEachGap(found)
        var (index, position, used) = (0, trees.chunks.first?.addresses.lowerBound ?? 0, 0 as UInt64)
        // Ends the gap before an address, in this chunk and in all before it.
        func advance(to address: UInt64) throws {
            while index < trees.chunks.count {
                let chunk = trees.chunks[index]
                position = max(position, chunk.addresses.lowerBound)
                let end = min(address, chunk.addresses.upperBound)
                if position < end { try free(position..<end, in: chunk, found) }
                if address < chunk.addresses.upperBound { return }
                index += 1
            }
        }
        try trees.forEachExtent { key, _ in
            guard key.type == Self.extentItem || key.type == Self.metadataItem else { return true }
            let length = key.type == Self.extentItem ? key.offset : UInt64(trees.superblock.nodeSize)
            try advance(to: key.object)
            let end = key.object.addingReportingOverflow(length)
            guard index < trees.chunks.count, trees.chunks[index].addresses.contains(key.object), length > 0,
                !end.overflow, position <= key.object, end.partialValue <= trees.chunks[index].addresses.upperBound
            else { throw FreeSpaceError.malformed }
            position = end.partialValue
            used += length
            return true
        }
        try advance(to: .max)
        guard !isExact || used == trees.superblock.usedBytes else { throw FreeSpaceError.malformed }
    }

    /// Tells the bytes that no chunk has.
    private func forEachGap(_ found: (ByteRun) throws -> Void) throws {
        let taken = trees.chunks.flatMap { chunk in
            chunk.places.map { $0..<$0 + UInt64(chunk.addresses.count) }
        }.sorted { $0.lowerBound < $1.lowerBound }
        var position: UInt64 = 0
        for run in taken {
            guard run.lowerBound >= position else { throw FreeSpaceError.malformed }
            if position < run.lowerBound { try tell(position..<run.lowerBound, found) }
            position = run.upperBound
        }
        if position < trees.superblock.deviceBytes { try tell(position..<trees.superblock.deviceBytes, found) }
    }

    private func free(_ addresses: Range<UInt64>, in chunk: BtrfsChunk, _ found: (ByteRun) throws -> Void) throws {
        for place in chunk.places {
            let start = place + addresses.lowerBound - chunk.addresses.lowerBound
            try tell(start..<start + UInt64(addresses.count), found)
        }
    }

    /// Tells a run without the superblocks in it, and without what is reserved.
    private func tell(_ run: Range<UInt64>, _ found: (ByteRun) throws -> Void) throws {
        var position = max(run.lowerBound, Self.reserved)
        for place in BtrfsSuperblock.places where place + Self.superblockRoom > position && place < run.upperBound {
            if position < place { try found(ByteRun(start: position, length: place - position)) }
            position = max(position, place + Self.superblockRoom)
        }
        if position < run.upperBound {
            try found(ByteRun(start: position, length: run.upperBound - position))
        }
    }
}
