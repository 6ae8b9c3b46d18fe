/// Fits a progress line into one row of a terminal.
enum ProgressRow {
    /// Joins parts with commas, as many as fit. The first part is cut if it does not fit by itself.
    /// - Parameters:
    ///   - parts: The most important first.
    ///   - columns: Width of the terminal, from 1.
    /// - Returns: At most one column less than `columns`: with a character in the last one, some terminals begin a new row.
    static func fit(_ parts: [String], columns: Int) -> String {
        let room = max(columns - 1, 0)
        guard var row = parts.first.map({ cut($0, to: room) }) else { return "" }
        for part in parts.dropFirst() {
            let longer = "\(row), \(part)"
            guard width(longer) <= room else { break }
            row = longer
        }
        return row
    }

    /// Keeps the end of a text that is too long: it tells images in one folder apart.
    private static func cut(_ text: String, to room: Int) -> String {
        guard width(text) > room else { return text }
        var kept = text[...]
        while !kept.isEmpty, width(kept) + 1 > room { kept.removeFirst() }
        return room == 0 ? "" : "~\(kept)"
    }

    /// Columns that a text takes at most. Control characters are not printed.
    private static func width(_ text: some StringProtocol) -> Int {
        text.reduce(0) { $0 + ($1.isASCII ? 1 : 2) }
    }
}
