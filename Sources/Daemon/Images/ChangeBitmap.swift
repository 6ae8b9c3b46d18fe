import Block
import NBDServer

/// Which blocks of an export were written between two checkpoints, for incremental backups. Clients see it as one of QEMU's
/// dirty bitmaps.
///
/// 1. At first everything counts as written: nobody knows what was before the node began. 2. A checkpoint shows what was
/// written since the last one, and begins anew. What is shown does not change any more, however long a backup takes.
/// 3. Where the backup of a checkpoint fails, `failed` has the next one show that again.
actor ChangeBitmap {
    private let disk: Disk
    private let maps: ExportMaps
    private let context: String
    private var geometry: BlockGeometry
    private var current: DirtyMap
    private var shown: DirtyMap
    /// The last change of the maps that was asked for: one after the other, as each takes several steps.
    private var changing: Task<Void, Never>?

    /// How names of QEMU's dirty bitmaps begin.
    static let namespace = "qemu:dirty-bitmap:"
    /// The name under which clients see the map of a migration.
    static let migrationName = "migration"

    /// - Parameters:
    ///   - name: of the bitmap, as clients ask for it behind `namespace`.
    ///   - maps: where it is shown.
    /// - Returns: nil for a disk that is empty.
    init?(name: String, disk: Disk, maps: ExportMaps) {
        guard let geometry = BlockGeometry(size: disk.size, blockSize: BlockGeometry.standardBlockSize) else {
            return nil
        }
        self.disk = disk
        self.maps = maps
        self.geometry = geometry
        context = Self.namespace + name
        current = DirtyMap(geometry: geometry)
        shown = current
        current.markAll()
    }

    /// Begins.
    func start() async {
        await disk.follow(current)
        maps.show(BlockMarks(dirty: shown), as: context)
    }

    /// Shows what was written since the last checkpoint, and notes from now on what is written after this one.
    func checkpoint() async { await inTurn { await self.beginAnew() } }

    /// Follows a disk that has become longer or shorter. What is new in it counts as written, before this checkpoint and
    /// after it: clients that are told the new size must see that.
    func resize(to size: UInt64) async { await inTurn { await self.changeSize(to: size) } }

    private func inTurn(_ change: @escaping @Sendable () async -> Void) async {
        let task = Task { [changing] in
            await changing?.value
            await change()
        }
        changing = task
        await task.value
    }

    private func changeSize(to size: UInt64) async {
        guard size != geometry.size, let next = current.resized(to: size) else { return }
        // Both know of what is written in between.
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
        // Both know of what is written in between.
        await disk.follow(next)
        await disk.unfollow(current)
        shown = current
        current = next
        maps.show(BlockMarks(dirty: shown), as: context)
    }

    /// Ends it.
    func stop() async {
        await disk.unfollow(current)
        maps.retire(context)
    }

    /// The last checkpoint has come to nothing: what it showed counts as written after it.
    func failed() { current.mark(allOf: shown) }

    /// Something else has written to the disk: everything counts as written.
    func invalidate() {
        current.markAll()
        shown.markAll()
    }

    /// What is wrong with a bitmap's name; nil where nothing is.
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
