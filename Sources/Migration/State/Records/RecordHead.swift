import Block

/// The part of any record that says which image it is about.
struct RecordHead: Decodable, Sendable {
    /// nil in records of releases that knew an image by its path alone.
    var image: RecordedImage?
    /// The inode of the image's file in such a record, 0 for a device; nil if not even that was recorded.
    var inode: UInt64?
    /// The birth time of the image's file in such a record; nil if the file system did not say.
    var birthTime: Int64?

    /// Whether the record is about `image`, wherever that stands now.
    /// - Parameter isNamedAfterPath: whether an earlier release would have kept a record of that image under this name.
    func isAbout(_ image: RecordedImage, isNamedAfterPath: Bool) -> Bool {
        if let known = self.image {
            guard let ours = known.identity, let theirs = image.identity else { return false }
            return ours.isSame(as: theirs)
        }
        // Such a record says nothing that would tell two devices apart.
        guard let file = image.identity?.file, image.identity?.device == nil else { return false }
        guard let inode else { return isNamedAfterPath }
        return inode == file.inode && birthTime == file.birthTime && (birthTime != nil || isNamedAfterPath)
    }

    /// Whether the record's image stood where `image` stands now.
    func stoodAtPath(of image: RecordedImage, isNamedAfterPath: Bool) -> Bool {
        self.image.map { $0.stoodAtSamePath(as: image) } ?? isNamedAfterPath
    }
}
