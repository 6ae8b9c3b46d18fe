/// The text of one event: a message and its values as `key=value`, in the order of the keys.
enum LogLine {
    /// Bytes of a value, at most.
    private static let longestValue = 512

    /// Returns one line without its end. Clients, peers and users supply parts of messages and values, so that what could
    /// end the line or act on a terminal is escaped.
    static func text(_ message: String, _ values: [String: String]) -> String {
        values.sorted { $0.key < $1.key }.reduce(PlainText.line(message)) { line, pair in
            "\(line) \(pair.key)=\(value(pair.value))"
        }
    }

    /// A value that is empty or has blanks, quotes or signs of equality stands in quotes.
    private static func value(_ text: String) -> String {
        let plain = PlainText.line(text, limit: longestValue)
        guard plain.isEmpty || plain.contains(where: { [" ", "\"", "=", "\\"].contains($0) }) else { return plain }
        let escaped = plain.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"")
        return "\"\(escaped)\""
    }
}
