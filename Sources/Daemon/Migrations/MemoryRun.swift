import Glibc
import Logging
import Migration

/// The memory of a guest on its way from this node, beside the migration of its disks.
final class MemoryRun: Sendable {
    let relay: MemoryRelay
    private let task: Task<Void, Never>

    /// Begins to listen.
    /// - Throws: `NodeError` if the socket can't be made.
    init(_ request: MemoryRequest, relay: MemoryRelay, logger: Logger) throws {
        let descriptor: CInt
        do {
            descriptor = try ControlSocket.bind(request.socket)
            try request.permissions.apply(toSocket: request.socket)
        } catch {
            throw NodeError.unusable("no socket for the guest's memory: \(error)")
        }
        self.relay = relay
        let path = request.socket
        task = Task {
            do { try await relay.run(on: descriptor) } catch is CancellationError {} catch {
                logger.warning("the socket for the memory of \(request.name) fails: \(error)")
            }
            unlink(path)
        }
    }

    /// Ends once no connection of the hypervisor is carried any more: the disks have moved.
    func finish() async {
        await relay.waitUntilIdle()
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
