import Block

extension FormattedFile {
    /// Files of the longest chain that is followed.
    private static let mostFiles = 64

    /// The stamps of the local files on which the disk's contents depend: this one, its backing file, and so on.
    /// - Returns: nil if not all are known: one is a device or on another server, or can name files in ways not read here.
    /// - Throws: `FileError` if one can't be read.
    public func stamps() throws -> [ImageStamp]? {
        // A VMDK can consist of many files, which its descriptor names.
        guard format != "vmdk", isAtPath, let stamp = try stamp() else { return nil }
        var (stamps, link, isLast) = ([stamp], path, format != "qcow2")
        while !isLast {
            guard stamps.count < Self.mostFiles, let header = QCOW2Header(path: link), !header.hasDataFile else {
                return nil
            }
            guard header.backingFile != nil else { break }
            guard let path = header.backingPath(from: link) else { return nil }
            let file = try RawImage(path: path, access: .readOnly)
            let format = file.format()?.name
            guard !file.isBlockDevice, ["qcow2", "vdi", "vhdx", nil].contains(format) else { return nil }
            stamps.append(try file.stamp())
            (link, isLast) = (path, format != "qcow2")
        }
        return stamps
    }
}
