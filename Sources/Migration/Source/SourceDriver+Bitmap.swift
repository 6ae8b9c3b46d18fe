import BlockModel
import MigrationProtocol

extension SourceDriver {
    /// Says the disk's dirty bitmap, behind the fence: no client can write any more. The blocks that the guest has written during
    /// the migration are in it.
    func sendBitmap() async throws {
        guard takesBitmap, let bitmap = await job.readBitmap?(), let bits = bitmap.bits else { return }
        for (map, words) in [(BitmapPart.Map.current, bits.current), (.shown, bits.shown)] {
            try await link.sendNow(.bitmap(BitmapPart(name: bitmap.name, map: map, runs: [])))
            for runs in RunChunks(try runs(words)) {
                try await link.sendNow(.bitmap(BitmapPart(name: bitmap.name, map: map, runs: runs)))
            }
        }
    }

    private func runs(_ words: [UInt64]) throws -> BitRuns {
        guard let geometry = BlockGeometry(size: copy.geometry.diskSize, blockSize: BitmapPart.blockSize) else {
            throw MigrationError.unexpected("a dirty bitmap of a disk without bytes")
        }
        // A disk that has grown meanwhile has more words than the one that moves.
        let map = DirtyMap(geometry: geometry, words: words)
        // A bitmap that covers less of the disk than moves must not call the rest clean.
        if UInt64(words.count) * 64 < geometry.blockCount { map.markAll() }
        return BitRuns(bitmap: map.bitmap, value: true, range: 0..<geometry.blockCount)
    }
}
