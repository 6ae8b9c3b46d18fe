/// Escapes untrusted text to one line that contains no terminal commands.
public enum PlainText {
    /// Bytes of a log line, at most.
    public static let longestLine = 2048

    /// Returns the text with invisible characters as `\\u{..}`, cut to `limit` bytes.
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

    /// Format characters can reverse or hide the text that follows. Joiners only join letters and pictures.
    private static func isVisible(_ scalar: Unicode.Scalar) -> Bool {
        if ["\u{200c}", "\u{200d}"].contains(scalar) { return true }
        return switch scalar.properties.generalCategory {
        case .control, .format, .lineSeparator, .paragraphSeparator, .surrogate, .unassigned, .privateUse: false
        default: true
        }
    }
}
