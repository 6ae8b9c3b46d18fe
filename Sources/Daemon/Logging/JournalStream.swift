import Foundation
import Glibc
import Logging

/// The way to systemd's journal, if standard error leads there; systemd.exec(5), `$JOURNAL_STREAM`.
public enum JournalStream {
    /// Whether standard error is a stream of the journal. A program that has redirected it inherits the variable too.
    public static let isStandardError = leads(2, ProcessInfo.processInfo.environment["JOURNAL_STREAM"])

    /// - Parameter named: `DEVICE:INODE` of the stream, in decimal.
    static func leads(_ descriptor: CInt, _ named: String?) -> Bool {
        var info = stat()
        guard let named, fstat(descriptor, &info) == 0 else { return false }
        return named == "\(info.st_dev):\(info.st_ino)"
    }

    /// The priority of a level in the journal; syslog(3).
    public static func priority(of level: Logger.Level) -> Int {
        switch level {
        case .trace, .debug: 7
        case .info: 6
        case .notice: 5
        case .warning: 4
        case .error: 3
        case .critical: 2
        }
    }
}
