/// Error for a user's text that is not a valid value.
public struct InvalidValue: Error, CustomStringConvertible {
    /// Fault and valid forms, in one line.
    public let description: String

    init(_ description: String) {
        self.description = description
    }
}
