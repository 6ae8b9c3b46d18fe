import Logging

/// Turns each message into one plain line before another handler writes it, because peers and users supply parts of
/// messages.
public struct PlainLogHandler: LogHandler {
    private var inner: any LogHandler

    /// Creates a handler that passes lines on to `inner`.
    public init(_ inner: any LogHandler) {
        self.inner = inner
    }

    /// Log level of the inner handler.
    public var logLevel: Logger.Level {
        get { inner.logLevel }
        set { inner.logLevel = newValue }
    }

    /// Metadata of the inner handler.
    public var metadata: Logger.Metadata {
        get { inner.metadata }
        set { inner.metadata = newValue }
    }

    /// Metadata of the inner handler.
    public subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { inner[metadataKey: key] }
        set { inner[metadataKey: key] = newValue }
    }

    /// Makes the message plain and passes it on.
    public func log(event: LogEvent) {
        var event = event
        event.message = "\(PlainText.line("\(event.message)"))"
        inner.log(event: event)
    }
}
