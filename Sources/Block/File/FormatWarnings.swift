import NIOConcurrencyHelpers

/// Warns about images that are used as raw images and are not; once for each image and process.
public final class FormatWarnings: Sendable {
    private let known = NIOLockedValueBox<Set<String>>([])
    private let tell: @Sendable (String) -> Void

    /// Creates an empty set of known images.
    /// - Parameter tell: called with a line for the user.
    public init(tell: @escaping @Sendable (String) -> Void) {
        self.tell = tell
    }

    /// Examines an image, and warns if it is not raw; nil is ignored.
    public func check(_ image: RawImage?, _ use: ImageFormat.Use) {
        guard let image, let format = image.format(), let identity = try? image.stamp() else { return }
        let isNew = known.withLockedValue { $0.insert("\(identity.device) \(identity.inode)").inserted }
        if isNew { tell(format.warning(of: image.path, use)) }
    }
}
