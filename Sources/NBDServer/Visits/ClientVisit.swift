import NBD

/// The connection of one client from its start to its end, for the observer of the server. Nothing of it happens for a
/// request. Used by one thread at a time.
///
/// `@unchecked Sendable`: created by the thread that accepts, then used by the session's loop.
final class ClientVisit: @unchecked Sendable {
    let client: ClientAddress
    private let observer: (any ClientObserver)?
    private var opening: (export: String, time: ContinuousClock.Instant)?
    private var end: ClientEnd?

    /// Looks at the other end of a socket, if anybody wants to know.
    init(socket: CInt, observer: (any ClientObserver)?) {
        self.observer = observer
        client = observer == nil ? .unknown : ClientAddress(socket: socket)
    }

    /// The client has opened an export.
    func opened(_ export: String, isSecure: Bool) {
        guard let observer else { return }
        opening = (export, .now)
        observer.opened(export, by: client, isSecure: isSecure)
    }

    /// Remembers why the connection ends; the first reason counts.
    func noteEnd(_ end: ClientEnd) { self.end = self.end ?? end }

    /// The connection has been turned away before its handshake.
    func refused(_ refusal: ClientRefusal) { observer?.refused(client, refusal) }

    /// The connection has ended.
    /// - Parameter refusal: why it has not got the export that it wanted; nil if it got what it asked for.
    func closed(refusal: HandshakeRefusal?) {
        guard let observer else { return }
        let end = end ?? .closed
        if let opening {
            let time = opening.time.duration(to: .now).components
            let seconds = Double(time.seconds) + Double(time.attoseconds) * 1e-18
            return observer.closed(opening.export, by: client, end, seconds: seconds)
        }
        if let refusal { return observer.refused(client, .handshake(refusal)) }
        // Clients that only list exports, or look whether the port is open, have nothing to complain of.
        if [.malformed, .stalled].contains(end) { observer.refused(client, .ended(end)) }
    }
}
