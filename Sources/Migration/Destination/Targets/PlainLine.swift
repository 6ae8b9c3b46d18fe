/// One line of a command's output, for people at either node.
enum PlainLine {
    /// The most characters that are passed on.
    private static let longest = 300

    /// The text without characters that a terminal could take for commands, cut to 300 of them.
    static func of(_ text: some StringProtocol) -> String {
        let visible = text.unicodeScalars.filter { scalar in
            switch scalar.properties.generalCategory {
            case .control, .format, .lineSeparator, .paragraphSeparator, .surrogate, .unassigned, .privateUse: false
            default: true
            }
        }
        let line = String(String.UnicodeScalarView(visible.prefix(longest)))
        return visible.count > longest ? line + "..." : line
    }

    /// The last line that says something; nil if none does.
    static func last(of output: [UInt8]) -> String? {
        let lines = String(decoding: output, as: UTF8.self).split(whereSeparator: \.isNewline)
        return lines.map { of($0) }.last { line in line.contains { !$0.isWhitespace } }
    }
}
