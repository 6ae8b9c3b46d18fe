import BlockModel
import MigrationProtocol

extension SourceCopy {
    /// Takes all blocks that were written since they were sent. Blocks that the guest writes meanwhile may be left for
    /// the next time.
    func takeDirty() -> BlockSet {
        var taken = BlockSet(of: geometry.blockCount)
        var cursor: UInt64 = 0
        while cursor < geometry.blockCount {
            let blocks = dirtyMap.take(from: &cursor, limit: 1 << 16)
            // Pages of the guest's memory may not be referred to blocks that the destination lacks.
            agreed?.send(blocks)
            for block in blocks { taken.insert(block..<block + 1) }
        }
        return taken
    }

    /// Counts blocks that will come later as dirty.
    func note(missing: BlockSet) {
        update { $0.dirty = missing.reduce(0) { $0 + geometry.byteCount(of: $1) } }
    }

    /// The agreement if the destination lacks these blocks. Nothing may be sent any more.
    func agreed(without missing: BlockSet) -> SourceRootHash.Agreed {
        SourceRootHash.Agreed(manifest: manifest, missing: missing)
    }

    /// Removes these blocks from the manifest, as they are left. Nothing may be sent meanwhile.
    func leave(_ blocks: BlockSet) async throws {
        try await pools.urgent.runIfActive { [manifest] in
            try manifest.setZero(blocks)
            try manifest.refresh()
        }
    }

    /// The root of all that was sent, of which these blocks have been left. Nothing may be sent meanwhile.
    func root(leaving blocks: BlockSet) async throws -> DiskRoot {
        try await pools.urgent.runIfActive { [manifest] in try manifest.root(naming: blocks) }
    }

    /// The root of all that was sent but for what is missing at the destination. Nothing may be sent meanwhile.
    func root(without missing: BlockSet) async throws -> DiskRoot {
        try await pools.urgent.runIfActive { [manifest] in try manifest.root(without: missing) }
    }

    /// The root of all that was sent. Nothing may be sent meanwhile.
    func root() async throws -> DiskRoot {
        try await pools.urgent.runIfActive { [manifest] in try manifest.root() }
    }
}
