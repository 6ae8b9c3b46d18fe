import MigrationCore
import Peer
import PeerModel

/// Keeps a link to a destination up: whenever a connection ends, another one follows, soon at first and then more seldom.
struct Reconnection: Sendable {
    let destination: PeerAddress
    let transport: PeerTransport

    /// Goes on until the task is cancelled, or the link is not wanted any more.
    /// - Parameters:
    ///   - serve: uses a connection until that ends.
    ///   - ended: called after each connection with its failure; nil if there was none.
    func run(
        while isWanted: () -> Bool = { true }, serve: @escaping @Sendable (PeerConnection) async throws -> Void,
        ended: (_ problem: String?) -> Void
    ) async {
        var pace = ReconnectionPace()
        while !Task.isCancelled, isWanted() {
            let began = ContinuousClock.now
            do {
                try await PeerConnection.connect(to: destination, on: transport, serve)
                ended(nil)
            } catch {
                ended(String(describing: error is CancellationError ? PeerError.cut : error))
            }
            guard isWanted() else { return }
            try? await Task.sleep(for: pace.ended(after: began.duration(to: .now)))
        }
    }
}
