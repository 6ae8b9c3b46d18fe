import Block

/// Warns about images that are indexed as raw although they have another format.
enum FormatNotice {
    /// Skips images that can't be opened, and NBD URIs, because servers export disks without a format.
    static func check(_ images: [String]) {
        let warnings = FormatWarnings { Terminal.report("warning: \($0)") }
        for image in images where !NBDClientImage.isURI(image) {
            warnings.check(try? RawImage(path: image, access: .readOnly), .indexed)
        }
    }
}
