import Daemon
import Foundation
import Logging
import NBDServer

/// Runs a node from start to end, controlled by signals, a command or a single client.
struct ServeRun {
    /// Condition other than a signal that ends the node.
    enum Purpose {
        case serve
        /// Ends with the client on standard input and output.
        case single(StandardStreams)
        /// Ends with a shell command.
        case captive(command: String)
    }

    let configuration: NodeConfiguration
    /// Configuration from files and command line at the start, without derived addresses.
    let started: NodeConfiguration
    let purpose: Purpose
    /// Reads files and command line again.
    let reread: @Sendable () throws -> NodeConfiguration

    /// Runs the node.
    /// - Returns: The exit status.
    /// - Throws: Errors of the start.
    func run(signals: ProcessSignals, logger: Logger) async throws -> CInt {
        let node = try Node(configuration: configuration, logger: logger)
        let reload = ConfigurationReload(node: node, started: started, logger: logger, reread: reread)
        await node.setReload { try await reload.perform() }
        let lines: [String]
        do {
            lines = try await node.start()
        } catch {
            await node.stop()
            throw error
        }
        if !lines.isEmpty { Terminal.report("ready: \(lines.joined(separator: ", "))") }
        ServiceManager.tell("READY=1")
        await node.tellSummary { ServiceManager.tell("STATUS=\($0)") }
        let status: CInt
        do {
            status = try await serve(node, signals, reload)
        } catch {
            await node.stop()
            throw error
        }
        ServiceManager.tell("STOPPING=1")
        await node.stop()
        if case .single(let client) = purpose { await client.finishSoon() }
        return status
    }

    private func serve(_ node: Node, _ signals: ProcessSignals, _ reload: ConfigurationReload) async throws -> CInt {
        switch purpose {
        case .serve:
            await obey(signals, reload)
            return 0
        case .single(let client):
            await untilFirst(
                { [self] in await obey(signals, reload) },
                {
                    await node.serve(client.socket)
                    await client.finish()
                })
            return 0
        case .captive(let command):
            let captive = try CaptiveCommand(command, variables: await location(node).variables)
            let watch = Task {
                await obey(signals, reload)
                guard !Task.isCancelled else { return }
                captive.terminate()
                // A second signal kills the command.
                await obey(signals, reload)
                if !Task.isCancelled { captive.kill() }
            }
            defer { watch.cancel() }
            return await captive.wait()
        }
    }

    /// Returns when the first of two tasks ends. Cancels the other but does not wait for it: `Node.stop` disconnects a
    /// remaining client.
    private func untilFirst(
        _ one: @escaping @Sendable () async -> Void, _ other: @escaping @Sendable () async -> Void
    ) async {
        let (ends, end) = AsyncStream<Void>.makeStream()
        let tasks = [one, other].map { body in
            Task {
                await body()
                end.yield()
            }
        }
        for await _ in ends { break }
        for task in tasks { task.cancel() }
    }

    /// Handles signals until one asks to end.
    private func obey(_ signals: ProcessSignals, _ reload: ConfigurationReload) async {
        for await request in signals.requests {
            guard request == .reload else { return }
            // The log has the error.
            _ = try? await reload.perform()
        }
    }

    /// Export for the command: the empty name if it is unambiguous, otherwise the first export.
    private var captiveExport: String {
        let exports = configuration.exports
        return exports.count == 1 || exports.contains(where: \.isDefault) ? "" : exports.first?.name ?? ""
    }

    private func location(_ node: Node) async throws -> ExportLocation {
        guard let address = await node.addresses.first else {
            throw CommandFailure(reason: "--run has no address to give to the command")
        }
        return ExportLocation(
            address: address, export: captiveExport, encryption: configuration.tls?.mode ?? .off)
    }
}
