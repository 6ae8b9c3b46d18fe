import Block
import Migration

/// Dirty bitmaps that survive a clean restart.
extension Node {
    /// Takes over the bitmap that an earlier process has saved. It shows all blocks if there is none.
    /// - Returns: False if there is none, which the log does not say.
    @discardableResult
    func restoreBitmap(of export: NodeExport) async -> Bool {
        guard stateLock != nil, let bitmap = export.bitmap else { return false }
        guard let keeper = keeper(for: export) else {
            logger.notice(
                """
                \(export.name): its dirty bitmap shows all blocks after each start: nobody can tell whether something else has \
                written to the disk meanwhile
                """)
            return true
        }
        do {
            switch try keeper.take() {
            case .nothing: return false
            case .valid(let bits): await bitmap.restore(bits)
            case .invalid(let reason):
                logger.warning("\(export.name): its dirty bitmap is invalid and shows all blocks: \(reason)")
            }
        } catch { logger.warning("\(export.name): its dirty bitmap shows all blocks: \(error)") }
        return true
    }

    /// Drops the bitmap that an earlier process has saved: clients may write to the image before the next start.
    func discardBitmap(of export: NodeExport) {
        do { _ = try keeper(for: export)?.take() } catch {
            logger.warning("\(export.name): its saved dirty bitmap can't be dropped: \(error)")
        }
    }

    /// Tracks the writes to a disk that has arrived in the bitmap that has come with it. Only before the first client can write.
    func beginBitmap(of export: NodeExport, _ moved: MovedBitmap?) async {
        guard let bitmap = export.bitmap, let moved, !export.hasMoved else { return }
        if let bits = moved.bits {
            // An earlier life of the image here may have left one.
            discardBitmap(of: export)
            await bitmap.restore(bits)
        } else if await !restoreBitmap(of: export) {
            logger.warning(
                """
                \(export.name): its dirty bitmap is invalid and shows all blocks: the node did not end cleanly since the \
                disk came
                """)
        }
        await bitmap.start()
    }

    /// Gives the bitmap of a disk that comes back what was written elsewhere. Only before its clients reach the image again.
    /// - Returns: False if that is not known.
    func returnBitmap(of export: NodeExport, _ moved: MovedBitmap?) async -> Bool {
        guard let bitmap = export.bitmap else { return true }
        guard let bits = moved?.bits, moved?.name == bitmap.name else {
            logger.warning(
                "\(export.name): its dirty bitmap is invalid and shows all blocks: it has not come back with the disk")
            return false
        }
        await bitmap.adopt(bits)
        return true
    }

    /// Makes the disks of exports with bitmaps durable. Only after the last client, and before anything stops waiting for the
    /// helpers.
    /// - Returns: The names of the exports whose bitmaps can't be saved, which the log says.
    func settleBitmaps() async -> Set<String> {
        let disks = exports.values.filter { $0.isAtRest && !$0.isHeldBack && keeper(for: $0) != nil }
        let tasks = disks.map { export in (export.name, Task { try await export.backing?.settle() }) }
        var lost: Set<String> = []
        for (name, task) in tasks {
            do { try await task.value } catch {
                logUnsaved(name, error)
                lost.insert(name)
            }
        }
        return lost
    }

    /// Saves the bitmaps of the exports that are here. Nothing writes to them any more.
    /// - Parameter lost: The names of the exports whose bitmaps can't be saved.
    func saveBitmaps(except lost: Set<String>) async {
        for (name, export) in exports where export.isAtRest && !export.isHeldBack && !lost.contains(name) {
            guard export.flushProblem == nil, let bitmap = export.bitmap, let keeper = keeper(for: export) else {
                continue
            }
            do { try keeper.save(await bitmap.give()) } catch { logUnsaved(name, error) }
        }
    }

    private func logUnsaved(_ name: String, _ error: any Error) {
        logger.warning("\(name): its dirty bitmap can't be saved, and will show all blocks: \(error)")
    }

    /// - Returns: nil if the bitmap can't be kept. Another node has the state directory, or nobody can tell who writes to the disk.
    private func keeper(for export: NodeExport) -> BitmapKeeper? {
        guard stateLock != nil, let backing = export.backing, let name = export.bitmap?.name else { return nil }
        return try? BitmapKeeper(directory: state, image: backing.image, bitmap: name, stamps: backing.stamps)
    }
}
