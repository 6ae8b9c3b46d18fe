import NIOConcurrencyHelpers
import Peer

/// Closes a connection on which nothing comes: who asks for nothing must not keep the place of one who does.
final class Patience: Sendable {
    private let limit: Duration
    private let connection: PeerConnection
    private let task = NIOLockedValueBox<Task<Void, any Error>?>(nil)

    /// Begins to wait.
    init(_ limit: Duration, for connection: PeerConnection) {
        self.limit = limit
        self.connection = connection
        renew()
    }

    /// Something has come; waits as long again for the next.
    func renew() {
        let next = Task { [limit, connection] in
            try await Task.sleep(for: limit)
            connection.close()
        }
        task.withLockedValue { task in
            task?.cancel()
            task = next
        }
    }

    /// Waits no more.
    func end() {
        task.withLockedValue { task in
            task?.cancel()
            task = nil
        }
    }
}
