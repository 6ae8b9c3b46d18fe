/// Text that may come from elsewhere, as one line that gives no commands to a terminal and that nobody can mistake for two.
public enum PlainText {
    /// Bytes of a line in the log.
    public static let longestLine = 2048

    /// The text with what is no visible character as `\\u{..}`, and cut short where it is longer than `limit` bytes.
    public static func line(_ text: String, limit: Int = longestLine) -> String {
        guard !text.utf8.allSatisfy({ (0x20...0x7e).contains($0) }) || text.utf8.count > limit else { return text }
        var line = ""
        var count = 0
        for scalar in text.unicodeScalars {
            let piece = isVisible(scalar) ? String(scalar) : "\\u{\(String(scalar.value, radix: 16))}"
            count += piece.utf8.count
            guard count <= limit else { return line + "..." }
            line += piece
        }
        return line
    }

    /// Format characters turn the direction of what follows, or make it vanish; joiners only make words and pictures.
    private static func isVisible(_ scalar: Unicode.Scalar) -> Bool {
        if ["\u{200c}", "\u{200d}"].contains(scalar) { return true }
        return switch scalar.properties.generalCategory {
        case .control, .format, .lineSeparator, .paragraphSeparator, .surrogate, .unassigned, .privateUse: false
        default: true
        }
    }
}
