import Foundation

/// Turns signals into a stream of requests, from its creation on.
///
/// `@unchecked Sendable`: the sources are made once and only kept.
final class ProcessSignals: @unchecked Sendable {
    /// Request from outside the process.
    enum Request: Sendable {
        /// SIGTERM or SIGINT.
        case end
        /// SIGHUP.
        case reload
    }

    /// All requests in order of arrival.
    let requests: AsyncStream<Request>
    private let sources: [any DispatchSourceSignal]

    init() {
        let (stream, continuation) = AsyncStream.makeStream(of: Request.self)
        requests = stream
        sources = [(SIGTERM, Request.end), (SIGINT, .end), (SIGHUP, .reload)].map { number, request in
            signal(number, SIG_IGN)
            let source = DispatchSource.makeSignalSource(signal: number, queue: .global())
            source.setEventHandler { continuation.yield(request) }
            source.activate()
            return source
        }
    }
}
