/// A disk that `qemu-storage-daemon` can't serve.
public struct StorageDaemonError: Error, CustomStringConvertible {
    /// One line for the user.
    public let description: String

    init(_ image: String, _ problem: String) {
        description = "cannot use \(image): \(problem)"
    }
}
