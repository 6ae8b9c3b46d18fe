/// An image that another process or export writes to.
public struct ImageInUse: Error, CustomStringConvertible {
    let path: String

    /// One line for the user.
    public var description: String {
        "\(path) is open for writing elsewhere (a guest, another server or export); stop that one, or use --read-only"
    }
}
