import Daemon
import Foundation

/// Messages on standard error, and a progress row if that is a terminal. Nothing is coloured.
enum Terminal {
    /// Columns of a terminal that does not tell its width.
    private static let usualColumns = 80

    /// Whether progress is shown: on a terminal that can clear a row.
    static let showsProgress = isatty(2) == 1 && ProcessInfo.processInfo.environment["TERM"] != "dumb"

    /// Prints a message in a line of its own.
    /// - Parameter isError: Whether it is the reason of a failure, for systemd's journal.
    static func report(_ line: String, isError: Bool = false) {
        let priority =
            JournalStream.isStandardError ? "<\(JournalStream.priority(of: isError ? .error : .notice))>" : ""
        write((showsProgress ? "\r\u{1b}[K" : "") + "\(priority)nearblock: \(line)\n")
    }

    /// Replaces the progress row; does nothing without a terminal.
    /// - Parameter parts: The most important first; what has no place in one row is left out.
    static func progress(_ parts: [String]) {
        guard showsProgress else { return }
        write("\r\u{1b}[K\(ProgressRow.fit(parts.map { PlainText.line($0) }, columns: columns))")
    }

    /// Clears the progress row.
    static func endProgress() {
        if showsProgress { write("\r\u{1b}[K") }
    }

    private static var columns: Int {
        var size = winsize()
        guard ioctl(2, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 else { return usualColumns }
        return Int(size.ws_col)
    }

    private static func write(_ text: String) {
        FileHandle.standardError.write(Data(text.utf8))
    }
}
