import Foundation

/// Turns SIGTERM and SIGINT into something to wait for, from the moment it is made.
///
/// `@unchecked Sendable`: the sources are made once and only kept.
final class TerminationSignals: @unchecked Sendable {
    private let arrivals: AsyncStream<Void>
    private let sources: [any DispatchSourceSignal]

    init() {
        let (stream, continuation) = AsyncStream.makeStream(of: Void.self)
        arrivals = stream
        sources = [SIGTERM, SIGINT].map { number in
            signal(number, SIG_IGN)
            let source = DispatchSource.makeSignalSource(signal: number, queue: .global())
            source.setEventHandler { continuation.yield() }
            source.activate()
            return source
        }
    }

    /// Returns when the first signal has come.
    func first() async {
        for await _ in arrivals { return }
    }
}
