import Foundation

/// Turns signals into something to wait for, from the moment it is made.
///
/// `@unchecked Sendable`: the sources are made once and only kept.
final class ProcessSignals: @unchecked Sendable {
    /// What the process is asked to do.
    enum Request: Sendable {
        /// SIGTERM or SIGINT.
        case end
        /// SIGHUP.
        case reload
    }

    /// Every request, in the order of arrival.
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
