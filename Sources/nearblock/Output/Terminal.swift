import Foundation

/// What a person sees while a command works: lines on standard error, and one line of progress where that is a
/// terminal.
enum Terminal {
    /// Whether progress is shown.
    static let showsProgress = isatty(2) == 1

    /// A line of its own.
    static func report(_ line: String) {
        write((showsProgress ? "\r\u{1b}[K" : "") + "nearblock: \(line)\n")
    }

    /// Replaces the line of progress; nothing where nobody watches.
    static func progress(_ line: String) {
        if showsProgress { write("\r\u{1b}[K\(line)") }
    }

    /// Ends the line of progress.
    static func endProgress() {
        if showsProgress { write("\r\u{1b}[K") }
    }

    private static func write(_ text: String) {
        FileHandle.standardError.write(Data(text.utf8))
    }
}
