import Logging

/// Makes one plain line of each message, whoever its words come from, before another handler writes it.
public struct PlainLogHandler: LogHandler {
    private var inner: any LogHandler

    /// Passes lines on to `inner`.
    public init(_ inner: any LogHandler) {
        self.inner = inner
    }

    /// As swift-log asks for it.
    public var logLevel: Logger.Level {
        get { inner.logLevel }
        set { inner.logLevel = newValue }
    }

    /// As swift-log asks for it.
    public var metadata: Logger.Metadata {
        get { inner.metadata }
        set { inner.metadata = newValue }
    }

    /// As swift-log asks for it.
    public subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { inner[metadataKey: key] }
        set { inner[metadataKey: key] = newValue }
    }

    /// As swift-log asks for it.
    public func log(event: LogEvent) {
        var event = event
        event.message = "\(PlainText.line("\(event.message)"))"
        inner.log(event: event)
    }
}
