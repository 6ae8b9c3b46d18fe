import Block
import Migration

/// Dirty bitmaps that survive a clean restart.
extension Node {
    /// Takes over the bitmap that an earlier process has saved. It shows all blocks if there is none.
    /// - Returns: False if there is none, which the log does not say.
    @discardableResult
    func restoreBitmap(of export: NodeExport) async -> Bool {
        guard let bitmap = export.bitmap, let keeper = keeper(for: export) else { return false }
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

    /// Saves the bitmaps of the exports that are here. Nothing writes to them any more.
    func saveBitmaps() async {
        for export in exports.values where export.isAtRest && !export.isHeldBack && export.flushProblem == nil {
            guard let bitmap = export.bitmap, let keeper = keeper(for: export) else { continue }
            do { try keeper.save(await bitmap.give()) } catch {
                logger.warning("\(export.name): its dirty bitmap can't be saved, and will show all blocks: \(error)")
            }
        }
    }

    /// - Returns: nil if the bitmap can't be kept: another server holds the disk, or another node the state directory.
    private func keeper(for export: NodeExport) -> BitmapKeeper? {
        guard stateLock != nil, let image = export.backing?.file, let name = export.bitmap?.name else {
            return nil
        }
        return try? BitmapKeeper(directory: state, image: image, bitmap: name)
    }
}
