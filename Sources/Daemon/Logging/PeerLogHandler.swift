import Logging
import NIOConcurrencyHelpers

/// Limits the log lines that peers can cause. Each level has its own budget, so that harmless lines hide no errors.
/// Critical lines are always written.
struct PeerLogHandler: LogHandler {
    private var inner: any LogHandler
    private let budgets = NIOLockedValueBox<[Logger.Level: LineBudget]>([:])

    init(_ inner: any LogHandler) {
        self.inner = inner
    }

    var logLevel: Logger.Level {
        get { inner.logLevel }
        set { inner.logLevel = newValue }
    }

    var metadata: Logger.Metadata {
        get { inner.metadata }
        set { inner.metadata = newValue }
    }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { inner[metadataKey: key] }
        set { inner[metadataKey: key] = newValue }
    }

    func log(event: LogEvent) {
        guard event.level < .critical else { return inner.log(event: event) }
        switch budgets.withLockedValue({ $0[event.level, default: LineBudget()].decide(at: .now) }) {
        case .leaveOut: return
        case .write(let leftOut):
            if leftOut > 0 {
                var notice = event
                notice.message = "left out \(leftOut) lines about peers, because there were too many"
                inner.log(event: notice)
            }
            inner.log(event: event)
        }
    }
}
