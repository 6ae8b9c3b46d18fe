import Block

/// Finds out which exports of a node share one image. Such exports move together.
struct SharedImages {
    /// All exports of the node.
    let exports: [NodeExport]

    /// Returns the other exports of the image of `export`. They are switched over with it; otherwise their clients would
    /// keep reading the old image.
    /// - Throws: `NodeError` if this export can't be the one that moves.
    func siblings(of export: NodeExport) throws -> [NodeExport] {
        let others = try others(of: export)
        if export.backing?.isReadOnly == true, let writable = others.first(where: { $0.backing?.isReadOnly == false }) {
            throw NodeError.unusable(
                "\(export.name) is a read-only view of the image of \(writable.name); migrate \(writable.name)")
        }
        if let part = others.first(where: { $0.export.description.size != export.export.description.size }) {
            throw NodeError.unusable(
                "\(export.name) and \(part.name) export one image with different sizes; remove one of them to migrate "
                    + "the other")
        }
        if let waiting = others.first(where: \.isHeldBack) { throw NodeError.isArriving(waiting.name) }
        return others
    }

    /// Returns the other exports that lead to the image of `export`.
    /// - Throws: `NodeError` if one leads to it in another way, so that it is unknown which bytes they share.
    func others(of export: NodeExport) throws -> [NodeExport] {
        guard let image = export.backing?.image else { return [] }
        let (file, identity) = (image.fileNumber, try image.identity())
        return try exports.filter { other in
            guard other !== export, let theirs = other.backing?.image else { return false }
            if try image.isOpenOnSame(as: theirs) { return true }
            guard let identity, let known = try theirs.identity(), file == theirs.fileNumber else { return false }
            if identity.sharesFile(with: known) {
                throw NodeError.unusable(
                    "\(export.name) and \(other.name) lead to one file, directly and through a loop device; "
                        + "remove one of them to migrate the other")
            }
            return identity.isSame(as: known)
        }
    }

    /// Checks that no migration takes an image away. Clients of a new export of it would keep reading the old image.
    /// - Parameter name: Name of the new export, for the message.
    /// - Throws: `NodeError` if the image is being migrated.
    func checkIsNotMoving(_ image: (any DiskImage)?, for name: String) throws {
        guard let image else { return }
        for export in exports where export.migration != nil {
            guard let other = export.backing?.image, try image.isOpenOnSame(as: other) else { continue }
            throw NodeError.unusable(
                "\(image.path) is being migrated as \(export.name); run nearblock reload after that to offer it as \(name)"
            )
        }
    }
}
