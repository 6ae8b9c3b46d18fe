import Block

/// Tells of images that are about to be indexed as if they were raw, and are not.
enum FormatNotice {
    /// Images that can't be opened, and NBD URIs, are passed over: a server gives a disk and no file of a format.
    static func check(_ images: [String]) {
        let warnings = FormatWarnings { Terminal.report("warning: \($0)") }
        for image in images where !NBDClientImage.isURI(image) {
            warnings.check(try? RawImage(path: image, access: .readOnly), .indexed)
        }
    }
}
