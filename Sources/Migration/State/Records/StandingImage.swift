import Block

/// An image that stands at a path of this node's configuration.
public struct StandingImage: Sendable {
    let path: String
    /// The image's identity.
    public let identity: ImageIdentity
    /// nil for a device that is not over a file.
    let file: FileNumber?

    /// An image at a path.
    public init(path: String, identity: ImageIdentity, file: FileNumber?) {
        self.path = ImagePath.absolute(path)
        self.identity = identity
        self.file = file
    }
}
