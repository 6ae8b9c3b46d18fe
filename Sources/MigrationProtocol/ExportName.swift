/// Checks export names that come from elsewhere and may become file names.
public enum ExportName {
    /// Bytes of UTF-8.
    public static let maximumLength = 200

    private static let remedy = "serve it under another name to move it"

    /// The reason why a name can't be used for an incoming disk; nil if it can.
    public static func problem(with name: String) -> String? {
        if name.isEmpty { return "an export needs a name to be moved; give one with --export" }
        if name.utf8.count > maximumLength {
            return "the export's name is longer than \(maximumLength) bytes; \(remedy)"
        }
        if name.unicodeScalars.contains(where: { $0 == "/" || $0.properties.generalCategory == .control }) {
            return "the export's name has a slash or a control character, which is not allowed; \(remedy)"
        }
        if name.hasPrefix(".") {
            return "the export's name '\(name)' begins with a dot, which is not allowed; \(remedy)"
        }
        return nil
    }
}
