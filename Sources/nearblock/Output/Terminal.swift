import Foundation

/// Messages on standard error, and a progress line if that is a terminal.
enum Terminal {
    /// Whether progress is shown.
    static let showsProgress = isatty(2) == 1

    /// Prints a message in a line of its own.
    static func report(_ line: String) {
        write((showsProgress ? "\r\u{1b}[K" : "") + "nearblock: \(line)\n")
    }

    /// Replaces the progress line; does nothing without a terminal.
    static func progress(_ line: String) {
        if showsProgress { write("\r\u{1b}[K\(line)") }
    }

    /// Clears the progress line.
    static func endProgress() {
        if showsProgress { write("\r\u{1b}[K") }
    }

    private static func write(_ text: String) {
        FileHandle.standardError.write(Data(text.utf8))
    }
}
