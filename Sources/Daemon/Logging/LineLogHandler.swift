import Foundation
import Glibc
import Logging

/// Writes each event as one line on standard error: a message, then its metadata as `key=value`.
///
/// Under systemd's journal a line begins with its priority, as in `<6>`; sd-daemon(3). Elsewhere it begins with time, level
/// and label.
public struct LineLogHandler: LogHandler {
    private let label: String
    private let isJournal: Bool
    private let write: @Sendable (String) -> Void
    /// The level of this logger alone; nil for that of the process.
    private var ownLevel: Logger.Level?

    /// Metadata of every line.
    public var metadata: Logger.Metadata = [:]

    /// Creates a handler for standard error.
    public init(label: String) {
        self.init(label: label, isJournal: JournalStream.isStandardError) { line in
            // One call, so that lines of several threads do not mix.
            FileHandle.standardError.write(Data(line.utf8))
        }
    }

    /// - Parameter write: gets each line, with its end.
    init(label: String, isJournal: Bool, write: @escaping @Sendable (String) -> Void) {
        self.label = label
        self.isJournal = isJournal
        self.write = write
    }

    /// The least important level that is written.
    public var logLevel: Logger.Level {
        get { ownLevel ?? LogThreshold.level }
        set { ownLevel = newValue }
    }

    /// One metadata value of every line.
    public subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    /// Writes an event.
    public func log(event: LogEvent) {
        let start =
            isJournal
            ? "<\(JournalStream.priority(of: event.level))>"
            : "\(Self.time(Date())) \(event.level.rawValue) \(label): "
        let values = metadata.merging(event.metadata ?? [:]) { $1 }
        write(start + LogLine.text("\(event.message)", values.mapValues { "\($0)" }) + "\n")
    }

    /// The time in UTC, with milliseconds, as in `2026-11-30T14:36:06.123Z`.
    static func time(_ date: Date) -> String {
        date.formatted(Date.ISO8601FormatStyle(includingFractionalSeconds: true))
    }
}
