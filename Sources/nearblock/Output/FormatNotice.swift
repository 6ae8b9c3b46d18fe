import Block

/// Warns about images that are indexed as raw although they have another format.
enum FormatNotice {
    /// Skips images that can't be opened, NBD URIs, and images with a format before a colon.
    static func check(_ images: [String]) {
        let warnings = FormatWarnings { Terminal.report("warning: \($0)") }
        for image in images where !image.contains(":") || image.hasPrefix("/") || image.hasPrefix(".") {
            warnings.check(try? RawImage(path: image, access: .readOnly), .indexed)
        }
    }
}
