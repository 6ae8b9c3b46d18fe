/// Another process writes to the image.
public struct ImageInUse: Error, CustomStringConvertible {
    let path: String

    /// One line for the user.
    public var description: String {
        "\(path) is open for writing in another process (a guest, or another server); stop that one, or use --read-only"
    }
}
