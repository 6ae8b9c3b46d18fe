import NIOConcurrencyHelpers

/// Tells of images that are used as if they were raw and are not; once for each image and process.
public final class FormatWarnings: Sendable {
    private let known = NIOLockedValueBox<Set<String>>([])
    private let tell: @Sendable (String) -> Void

    /// - Parameter tell: takes a line for the user.
    public init(tell: @escaping @Sendable (String) -> Void) {
        self.tell = tell
    }

    /// Looks at an image, and tells of it where it is not raw.
    public func check(_ image: RawImage?, _ use: ImageFormat.Use) {
        guard let image, let format = image.format(), let identity = try? image.stamp() else { return }
        let isNew = known.withLockedValue { $0.insert("\(identity.device) \(identity.inode)").inserted }
        if isNew { tell(format.warning(of: image.path, use)) }
    }
}
