/// Texts of a command's help.
enum HelpText {
    /// Puts examples behind a text, each in a row of its own.
    /// - Parameter examples: At most 78 characters each, so that no row is wrapped at 80 columns.
    static func text(_ text: String = "", examples: String...) -> String {
        (text.isEmpty ? "" : "\(text)\n\n") + "Examples:\n" + examples.map { "  \($0)" }.joined(separator: "\n")
    }
}
