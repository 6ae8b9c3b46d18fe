import Block

/// What the records of one kind say about an image.
enum RecordMatch: Equatable, Sendable {
    /// Nothing.
    case none
    /// The record of this name is about the image, wherever it stood.
    case same(name: String)
    /// The record of this name is about an image that stood at the same path and is not seen anywhere: this one may be it
    /// or may have replaced it.
    case doubtful(name: String)

    /// - Parameters:
    ///   - records: all of one kind.
    ///   - image: as it is now.
    ///   - legacyName: the name under which earlier releases kept the record of what stood at the image's path.
    ///   - isElsewhere: whether an image stands at another path of this node.
    init(
        among records: [(name: String, head: RecordHead)], image: RecordedImage, legacyName: String,
        isElsewhere: (ImageIdentity) -> Bool
    ) {
        if let record = records.first(where: { $0.head.isAbout(image, isNamedAfterPath: $0.name == legacyName) }) {
            self = .same(name: record.name)
            return
        }
        let doubtful = records.first { record in
            record.head.stoodAtPath(of: image, isNamedAfterPath: record.name == legacyName)
                && !(record.head.image?.identity.map(isElsewhere) ?? false)
        }
        self = doubtful.map { .doubtful(name: $0.name) } ?? .none
    }
}
