import Glibc
import Logging
import Migration

/// The memory of a guest on its way from this node, beside the migration of its disks.
final class MemoryRun: Sendable {
    /// The time within which the memory follows its disks.
    private static let lateLimit = Duration.seconds(300)

    let relay: MemoryRelay
    /// The migrations of the guest's disks; nil if these don't move.
    let migrations: LatestMigrations?
    private let task: Task<Void, Never>

    /// Begins to listen.
    /// - Throws: `NodeError` if the socket can't be made.
    init(_ request: MemoryRequest, relay: MemoryRelay, migrations: LatestMigrations?, logger: Logger) throws {
        let descriptor: CInt
        do {
            descriptor = try ControlSocket.bind(request.socket)
            try request.permissions.apply(toSocket: request.socket)
        } catch {
            throw NodeError.unusable("no socket for the guest's memory: \(error)")
        }
        self.relay = relay
        self.migrations = migrations
        let path = request.socket
        task = Task {
            do { try await relay.run(on: descriptor) } catch is CancellationError {} catch {
                logger.warning("the socket for the memory of \(request.name) fails: \(error)")
            }
            unlink(path)
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
