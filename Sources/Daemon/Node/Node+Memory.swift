import Migration
import Peer
import PeerModel

/// Guests' memory on its way to other nodes.
extension Node {
    /// Moves the memory of a guest whose disks are at both nodes, and returns when the hypervisor there has it.
    /// - Throws: the reason of a failure; the guest goes on at its hypervisor here.
    func moveMemory(_ command: MemoryCommand) async throws -> MemoryStatus {
        try command.validate()
        try checkGoesOn()
        let disks = try command.exports.map { name in
            let export = try find(name)
            guard let image = export.backing?.image else {
                throw NodeError.unusable("\(export.name) has no image here to compare blocks of; leave it out")
            }
            return StandingDisk(name: export.name, image: image)
        }
        let run = try await listen(
            for: command.memory, to: command.destination, rate: RateLimit(bitsPerSecond: command.rate),
            disks: .standing(disks))
        do { try checkGoesOn() } catch {
            await run.stop()
            throw error
        }
        memories[ObjectIdentifier(run)] = run
        defer { memories[ObjectIdentifier(run)] = nil }
        await withTaskCancellationHandler {
            await run.relay.waitUntilCarried()
        } onCancel: {
            run.cancel()
        }
        await run.stop()
        let status = run.relay.status
        guard status.state == .ended else {
            throw NodeError.unusable(
                "the memory of \(status.name) did not move: \(status.problem ?? "no hypervisor has connected")")
        }
        return status
    }

    /// Listens for the hypervisor of a guest.
    /// - Parameter migrations: those of its disks; nil if these don't move.
    /// - Throws: `NodeError` if the socket can't be made.
    func listen(
        for request: MemoryRequest, to destination: PeerAddress, rate: RateLimit, disks: MemoryRelay.Disks,
        migrations: LatestMigrations? = nil
    ) async throws -> GuestMemoryRun {
        let job = MemoryRelay.Job(
            name: request.name, destination: destination, rate: rate, isAtOnce: request.isAtOnce ?? false,
            scratch: configuration.state)
        let relay = MemoryRelay(job: job, disks: disks, transport: transport, pools: pools, logger: peerLogger)
        let socket: ControlSocket
        do {
            socket = try await ControlSocket(
                at: request.socket, permissions: request.permissions, group: group, pool: pools.urgent)
        } catch {
            throw NodeError.unusable("no socket for the guest's memory: \(error.plainReason)")
        }
        return GuestMemoryRun(on: socket, relay: relay, migrations: migrations, logger: logger)
    }
}
