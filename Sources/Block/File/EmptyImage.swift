/// An image without bytes, which makes no disk.
public struct EmptyImage: Error, CustomStringConvertible {
    let path: String

    /// One line for the user.
    public var description: String {
        "\(path) is empty: a disk needs at least one byte; give the image a size with truncate or qemu-img"
    }
}
