/// A configuration file makes no sense.
public struct ConfigurationError: Error, CustomStringConvertible {
    /// One line for the user.
    public let description: String

    init(_ path: String, _ problem: String) {
        description = "\(path): \(problem)"
    }
}
