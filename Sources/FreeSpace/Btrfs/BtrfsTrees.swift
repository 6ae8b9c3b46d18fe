/// The trees of a btrfs, and where their nodes are.
struct BtrfsTrees {
    /// The most chunks: 256 TiB of 1 GiB.
    private static let mostChunks = 1 << 18
    private static let rootItem: UInt8 = 132

    private let bytes: DiskBytes
    let superblock: BtrfsSuperblock
    /// Ascending by their addresses.
    private(set) var chunks: [BtrfsChunk] = []

    /// Reads the superblock and the chunks.
    /// - Throws: `FreeSpaceError`.
    init(_ bytes: DiskBytes) throws {
        self.bytes = bytes
        superblock = try BtrfsSuperblock(bytes)
        try readSystemChunks()
        var all: [BtrfsChunk] = []
        try forEach(from: superblock.chunkRoot) { key, item in
            guard key.type == BtrfsChunk.itemType else { return true }
            guard all.count < Self.mostChunks, all.last.map({ $0.addresses.upperBound <= key.offset }) ?? true else {
                throw FreeSpaceError.malformed
            }
            all.append(try chunk(item[...], at: key.offset))
            return true
        }
        chunks = all
    }

    private func chunk(_ item: ArraySlice<UInt8>, at address: UInt64) throws -> BtrfsChunk {
        try BtrfsChunk(item, at: address, on: superblock.device, of: superblock.deviceBytes)
    }

    private mutating func readSystemChunks() throws {
        var rest = superblock.systemChunks
        while rest.count > BtrfsNode.keyBytes {
            let key = BtrfsNode.key(Array(rest.prefix(BtrfsNode.keyBytes)), at: 0)
            rest = rest.dropFirst(BtrfsNode.keyBytes)
            guard key.type == BtrfsChunk.itemType, let length = BtrfsChunk.length(of: rest) else {
                throw FreeSpaceError.malformed
            }
            chunks.append(try chunk(rest.prefix(length), at: key.offset))
            rest = rest.dropFirst(length)
        }
        chunks.sort { $0.addresses.lowerBound < $1.addresses.lowerBound }
    }

    /// Calls `body` with each item of the tree of extents.
    func forEachExtent(_ body: (BtrfsNode.Key, [UInt8]) throws -> Bool) throws {
        var root: BtrfsNode.Pointer?
        try forEach(from: superblock.root) { key, item in
            if key.object == 2, key.type == Self.rootItem {
                guard item.count >= 239 else { throw FreeSpaceError.malformed }
                root = BtrfsNode.Pointer(
                    address: item.littleEndian(at: 176), generation: item.littleEndian(at: 160), level: item[238])
            }
            return key.object <= 2
        }
        guard let root else { throw FreeSpaceError.malformed }
        try forEach(from: root, body)
    }

    /// Calls `body` with each item of a tree, until it returns false. Keys must ascend, so that nothing is gone over twice.
    private func forEach(
        from root: BtrfsNode.Pointer, _ body: (BtrfsNode.Key, [UInt8]) throws -> Bool
    ) throws {
        var last: BtrfsNode.Key?
        _ = try visit(root, &last, body)
    }

    private func visit(
        _ pointer: BtrfsNode.Pointer, _ last: inout BtrfsNode.Key?, _ body: (BtrfsNode.Key, [UInt8]) throws -> Bool
    ) throws -> Bool {
        let node = try node(at: pointer)
        guard node.level == 0 else {
            guard node.count > 0 else { throw FreeSpaceError.malformed }
            for index in 0..<node.count {
                // A node below must bring the order forward, or a hostile tree would have no end.
                let before = last
                guard try visit(node.child(index), &last, body) else { return false }
                guard last != before else { throw FreeSpaceError.malformed }
            }
            return true
        }
        for index in 0..<node.count {
            let key = node.key(index)
            guard last.map({ $0 < key }) ?? true else { throw FreeSpaceError.malformed }
            last = key
            guard try body(key, node.item(index)) else { return false }
        }
        return true
    }

    private func node(at pointer: BtrfsNode.Pointer) throws -> BtrfsNode {
        let size = UInt64(superblock.nodeSize)
        let end = pointer.address.addingReportingOverflow(size)
        guard !end.overflow, let chunk = chunk(with: pointer.address), end.partialValue <= chunk.addresses.upperBound
        else { throw FreeSpaceError.malformed }
        let place = chunk.places[0] + pointer.address - chunk.addresses.lowerBound
        return try BtrfsNode(bytes.read(at: place, count: superblock.nodeSize), at: pointer)
    }

    private func chunk(with address: UInt64) -> BtrfsChunk? {
        var (low, high) = (0, chunks.count)
        while low < high {
            let middle = (low + high) / 2
            if chunks[middle].addresses.upperBound <= address { low = middle + 1 } else { high = middle }
        }
        return low < chunks.count && chunks[low].addresses.contains(address) ? chunks[low] : nil
    }
}
