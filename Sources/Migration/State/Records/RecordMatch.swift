import Block

/// The records of one kind that are, or may be, about an image.
enum RecordMatch: Equatable, Sendable {
    /// Nothing.
    case none
    /// The record of this name is about the image, wherever it stood.
    case same(name: String)
    /// The record of this name is about an image that stood at the same path and is not seen anywhere. This image
    /// may be the same one or may have replaced it.
    case doubtful(name: String)

    /// - Parameters:
    ///   - records: all of one kind.
    ///   - image: as it is now.
    ///   - legacyName: the name under which earlier releases kept the record of what stood at the image's path.
    ///   - twins: the paths of other files that nothing but their paths tells from this one: copies on cloned file systems.
    ///   - isElsewhere: whether an image stands at another path of this node.
    init(
        among records: [(name: String, head: RecordHead)], image: RecordedImage, legacyName: String,
        twins findTwins: () -> [String] = { [] }, isElsewhere: (ImageIdentity) -> Bool
    ) {
        func stood(_ record: (name: String, head: RecordHead)) -> Bool {
            record.head.stoodAtPath(of: image, isNamedAfterPath: record.name == legacyName)
        }
        let own = records.filter { $0.head.isAbout(image, isNamedAfterPath: $0.name == legacyName) }
        let twins = own.isEmpty ? [] : findTwins()
        if let record = own.first(where: stood) ?? (twins.isEmpty ? own.first : nil) {
            self = .same(name: record.name)
            return
        }
        let moved = own.first { !twins.contains($0.head.image?.path ?? "") }
        let doubtful =
            moved
            ?? records.first { record in
                let known = record.head.image?.identity
                if let known, let identity = image.identity, known.sharesFile(with: identity) { return true }
                // A twin is about its own path.
                guard stood(record), !own.contains(where: { $0.name == record.name }) else { return false }
                return !(known.map(isElsewhere) ?? false)
            }
        self = doubtful.map { .doubtful(name: $0.name) } ?? .none
    }
}
