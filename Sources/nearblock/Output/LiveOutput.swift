import Foundation

/// Text on standard output that is shown again and again: redrawn on a terminal, appended elsewhere.
struct LiveOutput {
    private let isTerminal = isatty(1) == 1
    private var isFirst = true

    /// Shows the lines.
    /// - Returns: False if nobody reads them any more.
    mutating func show(_ lines: [String], isRecord: Bool) -> Bool {
        if isTerminal, !isRecord {
            // Clearing the end of each line, and not the screen, avoids flicker.
            let start = isFirst ? "\u{1b}[2J\u{1b}[H" : "\u{1b}[H"
            print(start + lines.map { "\($0)\u{1b}[K\n" }.joined() + "\u{1b}[J", terminator: "")
        } else {
            print((isFirst || isRecord ? "" : "\n") + lines.map { "\($0)\n" }.joined(), terminator: "")
        }
        isFirst = false
        return fflush(nil) == 0
    }
}
