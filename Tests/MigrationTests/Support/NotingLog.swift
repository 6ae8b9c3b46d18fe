import Logging
import NIOConcurrencyHelpers

/// Keeps what a node has warned of.
struct NotingLog: LogHandler {
    private let noted = NIOLockedValueBox<[String]>([])
    var metadata: Logger.Metadata = [:]
    var logLevel = Logger.Level.warning

    var warnings: [String] { noted.withLockedValue { $0 } }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        noted.withLockedValue { $0.append("\(event.message)") }
    }
}
