/// Error in a configuration file.
public struct ConfigurationError: Error, CustomStringConvertible {
    /// Message for the user, in one line.
    public let description: String

    init(_ path: String, _ problem: String) {
        description = "\(path): \(problem)"
    }
}
