import Block
import Migration

/// Dirty bitmaps that survive a clean restart.
extension Node {
    /// Takes over the bitmap that an earlier process has saved. It shows all blocks if there is none.
    func restoreBitmap(of export: NodeExport) async {
        guard let bitmap = export.bitmap, let keeper = keeper(for: export) else { return }
        do {
            switch try keeper.take() {
            case .nothing: break
            case .valid(let bits): await bitmap.restore(bits)
            case .invalid(let reason):
                logger.warning("\(export.name): its dirty bitmap is invalid and shows all blocks: \(reason)")
            }
        } catch { logger.warning("\(export.name): its dirty bitmap shows all blocks: \(error)") }
    }

    /// Drops the bitmap that an earlier process has saved: clients may write to the image before the next start.
    func discardBitmap(of export: NodeExport) {
        do { _ = try keeper(for: export)?.take() } catch {
            logger.warning("\(export.name): its saved dirty bitmap can't be dropped: \(error)")
        }
    }

    /// Saves the bitmaps of the exports that are here. Nothing writes to them any more.
    func saveBitmaps() async {
        for export in exports.values where export.isAtRest && !export.isHeldBack && export.flushProblem == nil {
            guard let bitmap = export.bitmap, let keeper = keeper(for: export) else { continue }
            do { try keeper.save(await bitmap.bits) } catch {
                logger.warning("\(export.name): its dirty bitmap can't be saved, and will show all blocks: \(error)")
            }
        }
    }

    /// - Returns: nil if the bitmap can't be kept: another server holds the disk, or another node the state directory.
    private func keeper(for export: NodeExport) -> BitmapKeeper? {
        guard stateLock != nil, let image = export.backing?.file, let name = export.configuration?.dirtyBitmap else {
            return nil
        }
        return try? BitmapKeeper(directory: state, image: image, bitmap: name)
    }
}
