import CGLib
import Daemon

/// A table of at most 80 columns for people, with lines of details and messages under its rows.
struct TextTable {
    /// A column of a table.
    struct Column {
        let title: String
        let width: Int
        let isRight: Bool

        init(_ title: String, width: Int, isRight: Bool = false) {
            (self.title, self.width, self.isRight) = (title, width, isRight)
        }
    }

    /// Columns of a terminal that the table may take.
    static let width = 80
    private static let indentation = "  "

    private let columns: [Column]
    private var rows: [String] = []

    /// Creates a table without rows.
    /// - Parameter columns: The last one may be wider than it says; names belong in the first.
    init(columns: [Column]) { self.columns = columns }

    /// The lines with the header; none if there are no rows.
    var lines: [String] { rows.isEmpty ? [] : [line(columns.map(\.title))] + rows }

    /// Adds a row. A first value that is too wide gets a line of its own.
    /// - Parameters:
    ///   - details: Texts that follow under the row, each wrapped at spaces.
    ///   - messages: Texts that follow after these, each in a line however long: they have commands to copy.
    mutating func add(_ values: [String], details: [String], messages: [String] = []) {
        var values = values.map { PlainText.line($0) }
        if let first = values.first, Self.width(of: first) > columns[0].width {
            rows.append(first)
            values[0] = ""
        }
        rows.append(line(values))
        for detail in details { rows += Self.wrap(detail) }
        rows += messages.map { Self.indentation + PlainText.line($0) }
    }

    private func line(_ values: [String]) -> String {
        var line = ""
        for (value, column) in zip(values, columns) {
            let space = String(repeating: " ", count: max(0, column.width - Self.width(of: value)))
            line += (line.isEmpty && column.title == columns[0].title ? "" : " ")
            line += column.isRight ? space + value : value + space
        }
        while line.last == " " { line.removeLast() }
        return line
    }

    /// Breaks a text at spaces into indented lines of at most 80 columns. A longer word, such as a path, stays whole.
    static func wrap(_ text: String) -> [String] {
        var lines: [String] = []
        var line = ""
        for word in PlainText.line(text).split(separator: " ") {
            let isFirst = line.isEmpty
            if !isFirst, width(of: line) + 1 + width(of: String(word)) > width {
                lines.append(line)
                line = indentation + indentation + word
            } else {
                line += (isFirst ? indentation : " ") + word
            }
        }
        if !line.isEmpty { lines.append(line) }
        return lines
    }

    /// Columns of a terminal that a text takes.
    static func width(of text: String) -> Int {
        text.unicodeScalars.reduce(0) { columns, scalar in
            guard g_unichar_iszerowidth(scalar.value) == 0 else { return columns }
            return columns + (g_unichar_iswide(scalar.value) == 0 ? 1 : 2)
        }
    }
}
