import Daemon
import Foundation

/// Messages on standard error, and a progress line if that is a terminal.
enum Terminal {
    /// Whether progress is shown.
    static let showsProgress = isatty(2) == 1

    /// Prints a message in a line of its own.
    /// - Parameter isError: Whether it is the reason of a failure, for systemd's journal.
    static func report(_ line: String, isError: Bool = false) {
        let priority =
            JournalStream.isStandardError ? "<\(JournalStream.priority(of: isError ? .error : .notice))>" : ""
        write((showsProgress ? "\r\u{1b}[K" : "") + "\(priority)nearblock: \(line)\n")
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
