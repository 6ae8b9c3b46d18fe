import Foundation
import NIOCore
import NIOFoundationCompat
import NIOPosix
import Peer

/// Answers commands on a Unix socket that only its owner may use.
struct ControlServer: Sendable {
    private typealias Client = NIOAsyncChannel<ByteBuffer, ByteBuffer>
    private static let maximumLine = 64 << 10

    private let socket: ControlSocket
    private let node: Node
    private let unspoken = UnspokenClients()

    /// Binds the socket and listens.
    /// - Parameter isDefault: Whether `path` is the default, whose directory must be protected.
    /// - Throws: `ControlError`.
    init(path: String, isDefault: Bool = false, group: any EventLoopGroup, node: Node) async throws {
        ControlDirectory.make(for: path)
        if isDefault { try ControlDirectory.secure(for: path) }
        socket = try await ControlSocket(at: path, group: group, pool: node.pools.urgent)
        self.node = node
    }

    /// Serves until the task is cancelled; then removes the socket.
    func run() async {
        try? await socket.channel.executeThenClose { clients in
            try await withThrowingDiscardingTaskGroup { group in
                for try await client in clients { group.addTask { try? await serve(client) } }
            }
        }
        socket.remove()
    }

    private func serve(_ accepted: any Channel) async throws {
        var wait = unspoken.begin(accepted)
        defer { unspoken.end(wait) }
        let client = try await accepted.takeUp { try Client(wrappingChannelSynchronously: $0) }
        try await client.executeThenClose { inbound, outbound in
            for try await line in inbound.splitLines(maximumBufferSize: Self.maximumLine) {
                unspoken.end(wait)
                defer { wait = unspoken.begin(accepted) }
                let request: ControlRequest
                do {
                    request = try JSONDecoder().decode(ControlRequest.self, from: line)
                } catch {
                    return try await send(
                        .failed("the node does not understand this command; is it the same release?"),
                        outbound)
                }
                try await answer(request, client.channel, outbound)
            }
        }
    }

    private func answer(
        _ request: ControlRequest, _ channel: any Channel, _ outbound: NIOAsyncChannelOutboundWriter<ByteBuffer>
    ) async throws {
        do {
            try await send(try await perform(request, channel, outbound), outbound)
        } catch {
            try await send(
                .failed(error.plainReason, kind: Node.outcome(of: error).rawValue), outbound)
        }
    }

    private func perform(
        _ request: ControlRequest, _ channel: any Channel, _ outbound: NIOAsyncChannelOutboundWriter<ByteBuffer>
    ) async throws -> ControlReply {
        switch request {
        case .status:
            return .status(
                await node.status(), memoryDirectory: node.configuration.memoryDirectory,
                arriving: await node.arriving())
        case .migrate(let command) where command.detach:
            try await node.migrateDetached(try await place(command, channel, outbound))
            return .done
        case .migrate(let command):
            let command = try await place(command, channel, outbound)
            let progress = ProgressMessages { try? await send(.progress($0), outbound) }
            // The migration goes on if its client disconnects.
            return .reports(try await node.migrate(command) { progress.offer($0) })
        case .estimate(let command):
            // Only this client wants the estimate.
            let (estimates, placement) = try await whileWanted(channel) { try await node.estimates(command) }
            if let placement { try await send(.placed(placement), outbound) }
            return .estimates(estimates)
        case .memory(let command):
            // Without its client nobody knows what became of the guest.
            return .memory(try await whileWanted(channel) { try await node.moveMemory(command) })
        case .cancel(let export, let isSourceGone):
            try await node.cancel(export, isSourceGone: isSourceGone ?? false)
            return .done
        case .switchOver(let export):
            try await node.switchOver(export)
            return .done
        case .checkpoint(let export, let hasFailed):
            try await node.checkpoint(export, hasFailed: hasFailed)
            return .done
        case .resize(let export, let size):
            try await node.resize(export, to: size)
            return .done
        case .rate(let export, let bitsPerSecond):
            try await node.setRate(export, bitsPerSecond: bitsPerSecond)
            return .done
        case .reload:
            return .reloaded(try await node.reloadAsAsked())
        case .completed:
            return .completed(node.history.all.migrations)
        case .wait(let export, let isSwitchEnough):
            return .reports(
                try await whileWanted(channel) {
                    try await node.wait(for: export, isSwitchEnough: isSwitchEnough ?? false)
                })
        case .exports:
            return .exports(await node.exportList())
        case .forget(let export):
            return try await node.forget(export)
        case .trim(let export, let isDryRun, let isGuestOff):
            let progress = ProgressMessages { try? await send(.trimming($0), outbound) }
            // Blocks that have been punched stay so if its client disconnects.
            return .trimmed(
                try await whileWanted(channel) {
                    try await node.trim(export, isDryRun: isDryRun, isGuestOff: isGuestOff ?? false) {
                        progress.offer($0)
                    }
                })
        case .similarity(let export, let sites, let domains):
            return .similarity(
                try await whileWanted(channel) {
                    try await node.similarity(of: export, stores: sites, domains: domains)
                })
        }
    }

    /// Chooses one of several destinations, and tells the client which. Nothing moves if the client leaves meanwhile.
    private func place(
        _ command: MigrateCommand, _ channel: any Channel, _ outbound: NIOAsyncChannelOutboundWriter<ByteBuffer>
    ) async throws -> MigrateCommand {
        guard command.others?.isEmpty == false else { return command }
        let (chosen, placement) = try await whileWanted(channel) { try await node.place(command) }
        try await send(.placed(placement), outbound)
        return chosen
    }

    /// Performs work that is cancelled when its client disconnects, and when the node ends.
    private func whileWanted<Result: Sendable>(
        _ channel: any Channel, _ work: @escaping @Sendable () async throws -> Result
    ) async throws -> Result {
        let task = Task { try await work() }
        channel.closeFuture.whenComplete { _ in task.cancel() }
        return try await withTaskCancellationHandler {
            try await task.value
        } onCancel: {
            task.cancel()
        }
    }

    private func send(_ reply: ControlReply, _ outbound: NIOAsyncChannelOutboundWriter<ByteBuffer>)
        async throws
    {
        var line = ByteBuffer(data: try JSONEncoder().encode(reply))
        line.writeInteger(UInt8(ascii: "\n"))
        try await outbound.write(line)
    }
}
