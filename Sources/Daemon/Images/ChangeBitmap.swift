import Block
import BlockModel
import Migration
import NBDServer

/// Tracks which blocks of an export were written between two checkpoints, for incremental backups. Clients see it as
/// one of QEMU's dirty bitmaps.
///
/// 1. At first all blocks count as written, because earlier writes are unknown.
/// 2. A checkpoint shows the writes since the last one, and starts a new map. The shown map stays fixed for as long as
///    a backup takes.
/// 3. After a failed backup, `failed` adds the shown blocks to the next checkpoint.
actor ChangeBitmap {
    /// The bitmap's name without `namespace`.
    let name: String
    private let disk: Disk
    private let maps: ExportMaps
    private let context: String
    private var geometry: BlockGeometry
    private var current: DirtyMap
    private var shown: DirtyMap
    /// The losses of the disk's server that the maps allow for.
    private var losses: UInt64
    /// Whether the bits have been handed over.
    private var isGiven = false
    /// Last queued change of the maps. Changes run one after another, because each has several steps.
    private var changing: Task<Void, Never>?

    /// Prefix of the names of QEMU's dirty bitmaps.
    static let namespace = "qemu:dirty-bitmap:"
    /// Reserved name, under which clients see the map of a migration.
    static let migrationName = "migration"

    /// - Parameters:
    ///   - name: The bitmap's name without `namespace`.
    ///   - maps: The export's maps for clients.
    /// - Returns: Nil for an empty disk.
    init?(name: String, disk: Disk, maps: ExportMaps) {
        guard let geometry = BlockGeometry(size: disk.size, blockSize: BlockGeometry.standardBlockSize) else {
            return nil
        }
        self.name = name
        self.disk = disk
        self.maps = maps
        self.geometry = geometry
        context = Self.namespace + name
        current = DirtyMap(geometry: geometry)
        shown = current
        current.markAll()
        losses = disk.losses.now
    }

    /// Takes over the bits of an earlier process. Only before the first client can write.
    func restore(_ bits: BitmapKeeper.Bits) {
        current = DirtyMap(geometry: geometry, words: bits.current)
        shown = DirtyMap(geometry: geometry, words: bits.shown)
    }

    /// Takes over the bits of another node, which had the disk meanwhile, behind that node's fence.
    func adopt(_ bits: BitmapKeeper.Bits) async { await inTurn { await self.replace(by: bits) } }

    private func replace(by bits: BitmapKeeper.Bits) async {
        let next = DirtyMap(geometry: geometry, words: bits.current)
        await disk.follow(next)
        await disk.unfollow(current)
        current = next
        shown = DirtyMap(geometry: geometry, words: bits.shown)
        maps.show(BlockMarks(dirty: shown), as: context)
    }

    /// The bits for the next process, or for the node that the disk moves to, after all changes that were begun. Later
    /// checkpoints are refused until `takeBack`: they would be lost. Only after the last write.
    func give() async -> BitmapKeeper.Bits {
        await inTurn {
            await self.setGiven(true)
            await self.allowForLosses()
            return await BitmapKeeper.Bits(current: self.current.words, shown: self.shown.words)
        }
    }

    /// Allows checkpoints again: the disk stays here.
    func takeBack() { isGiven = false }

    private func setGiven(_ isGiven: Bool) { self.isGiven = isGiven }

    /// Starts tracking, and shows the bitmap to clients.
    func start() async {
        await disk.follow(current)
        maps.show(BlockMarks(dirty: shown), as: context)
    }

    /// Shows the writes since the last checkpoint, and starts a new map.
    /// - Returns: False if the bits have been handed over.
    func checkpoint() async -> Bool {
        await inTurn {
            guard await !self.isGiven else { return false }
            await self.beginAnew()
            return true
        }
    }

    /// Follows a change of the disk's size. New blocks count as written both before and after this checkpoint, so that
    /// clients of the new size see them.
    func resize(to size: UInt64) async { await inTurn { await self.changeSize(to: size) } }

    private func inTurn<Result: Sendable>(_ change: @escaping @Sendable () async -> Result) async -> Result {
        let task = Task { [changing] in
            await changing?.value
            return await change()
        }
        changing = Task { _ = await task.value }
        return await task.value
    }

    private func changeSize(to size: UInt64) async {
        guard size != geometry.size, let next = current.resized(to: size) else { return }
        // Writes in between are in both maps.
        await disk.follow(next)
        await disk.unfollow(current)
        next.mark(allOf: current)
        current = next
        shown = shown.resized(to: size) ?? shown
        geometry = next.geometry
        maps.show(BlockMarks(dirty: shown), as: context)
    }

    private func beginAnew() async {
        let next = DirtyMap(geometry: geometry)
        // Writes in between are in both maps.
        await disk.follow(next)
        await disk.unfollow(current)
        allowForLosses()
        shown = current
        current = next
        maps.show(BlockMarks(dirty: shown), as: context)
    }

    /// Marks all blocks as written if the disk's server may have lost some of them. Those can be older than the last checkpoint,
    /// and in a backup, while the disk has its earlier contents there.
    private func allowForLosses() {
        let now = disk.losses.now
        if now != losses { current.markAll() }
        losses = now
    }

    /// Stops tracking, and withdraws the bitmap from clients.
    func stop() async {
        await disk.unfollow(current)
        maps.retire(context)
    }

    /// Adds the blocks of the last checkpoint to the next one, because its backup failed.
    /// - Returns: False if the bits have been handed over.
    func failed() async -> Bool {
        await inTurn {
            guard await !self.isGiven else { return false }
            await self.current.mark(allOf: self.shown)
            return true
        }
    }

    /// Marks all blocks as written, because another writer may have changed the disk.
    func invalidate() {
        current.markAll()
        shown.markAll()
    }

    /// Returns a message if a name is not allowed; nil if it is.
    static func problem(with name: String) -> String? {
        let isPlain =
            !name.isEmpty && name.utf8.count <= 200
            && name.unicodeScalars.allSatisfy { $0.value > 32 && $0.value != 127 }
        guard isPlain else { return "the name of a dirty bitmap is 1 to 200 characters without spaces" }
        guard name != migrationName else {
            return "a dirty bitmap can't be called \(name): that is the map of a migration"
        }
        return nil
    }
}
