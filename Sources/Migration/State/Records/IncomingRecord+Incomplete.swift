import Block

extension IncomingRecord {
    /// The record of a disk whose image here is not whole; nil if it is whole. Serving such an image would serve holes,
    /// or older bytes.
    /// - Parameter elsewhere: the images that stand at the other paths of the node.
    /// - Throws: `DoubtfulImage` if such an image stood at this path and this is not it; if a record can't be read.
    public static func incomplete(
        _ image: any DiskImage, in state: StateDirectory, elsewhere: () -> [ImageIdentity] = { [] }
    ) throws -> IncomingRecord? {
        let now = try RecordedImage(image)
        for (name, record) in try state.readAll(IncomingRecord.self, prefix: "\(prefix)-") {
            let isWhole = record.phase == .active && !record.needsSource
            if record.knowsImage, try record.isAbout(image) {
                if isWhole { continue }
                return record
            }
            guard record.isInDoubt(about: now, elsewhere: elsewhere()) else { continue }
            throw DoubtfulImage(path: image.path, file: state.path(of: name), state: state.scratch)
        }
        return nil
    }
}
