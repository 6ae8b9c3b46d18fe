import Block
import BlockModel

extension Node {
    /// Knowledge of the blocks of an export.
    enum KnownBlocks: Sendable {
        /// Their states, of a disk that moves or has moved.
        case known(BlockPicture)
        /// Only what the file of the image tells.
        case file(RawImage)
        case unknown
    }

    /// Returns what is known of an export's blocks now.
    func blocks(of name: String) -> KnownBlocks {
        let export = exports[name]
        if let picture = export?.migration?.blocks ?? export?.lastBlocks { return .known(picture) }
        if let picture = registry?.blockMaps.picture(of: name) { return .known(picture) }
        guard let image = export?.backing?.file, export?.hasMoved == false else { return .unknown }
        return .file(image)
    }
}
