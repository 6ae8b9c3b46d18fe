import Logging
import Migration
import Peer

/// The memory of a guest on its way from this node, beside the migration of its disks.
final class GuestMemoryRun: Sendable {
    /// The time within which the memory follows its disks.
    private static let lateLimit = Duration.seconds(300)

    let relay: MemoryRelay
    /// The migrations of the guest's disks; nil if these don't move.
    let migrations: LatestMigrations?
    private let task: Task<Void, Never>

    /// Begins to carry what connects to a socket, which is removed at the end.
    init(on socket: ControlSocket, relay: MemoryRelay, migrations: LatestMigrations?, logger: Logger) {
        self.relay = relay
        self.migrations = migrations
        task = Task {
            do { try await relay.run(on: socket.channel) } catch is CancellationError {} catch {
                logger.warning("the socket for the memory of \(relay.status.name) fails: \(error.plainReason)")
            }
            socket.remove()
        }
    }

    /// Ends once the hypervisor's connections have been carried: the disks have moved. If none has come within
    /// `lateLimit`, none is waited for.
    func finish() async {
        let timer = Task { [task, relay] in
            try await Task.sleep(for: Self.lateLimit)
            if !relay.isRelaying { task.cancel() }
        }
        await relay.waitUntilCarried()
        timer.cancel()
        await stop()
    }

    /// Ends all connections.
    func stop() async {
        task.cancel()
        await task.value
    }

    /// Begins to end all connections.
    func cancel() { task.cancel() }
}
