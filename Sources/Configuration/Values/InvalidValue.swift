/// A user's text is not the value that it stands for.
public struct InvalidValue: Error, CustomStringConvertible {
    /// What is wrong, and which forms are valid; one line.
    public let description: String

    init(_ description: String) {
        self.description = description
    }
}
