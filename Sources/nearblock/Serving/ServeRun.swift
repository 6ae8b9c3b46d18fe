import Foundation
import Logging
import NBDServer
import Node

/// A node from its start to its end, and what of the outside steers it: signals, a command, a single client.
struct ServeRun {
    /// What ends the node besides a signal.
    enum Purpose {
        case serve
        /// The client on standard input and output.
        case single(socket: CInt)
        /// A shell command.
        case captive(command: String)
    }

    let configuration: NodeConfiguration
    let purpose: Purpose
    /// Reads the configuration anew.
    let reread: @Sendable () throws -> NodeConfiguration

    /// Returns the exit status.
    /// - Throws: why there is nothing to serve.
    func run(signals: ProcessSignals, logger: Logger) async throws -> CInt {
        let node = try Node(configuration: configuration, logger: logger)
        let lines: [String]
        do {
            lines = try await node.start()
        } catch {
            await node.stop()
            throw error
        }
        if !lines.isEmpty { Terminal.report("ready: \(lines.joined(separator: ", "))") }
        ServiceManager.tell("READY=1")
        let status: CInt
        do {
            status = try await serve(node, signals, logger)
        } catch {
            await node.stop()
            throw error
        }
        ServiceManager.tell("STOPPING=1")
        await node.stop()
        return status
    }

    private func serve(_ node: Node, _ signals: ProcessSignals, _ logger: Logger) async throws -> CInt {
        switch purpose {
        case .serve:
            await obey(signals, node, logger)
            return 0
        case .single(let socket):
            return await withTaskGroup(of: Void.self) { group in
                group.addTask { await node.serve(socket) }
                group.addTask { await obey(signals, node, logger) }
                await group.next()
                group.cancelAll()
                // The client of a node that is told to end is let go by `stop`.
                return 0
            }
        case .captive(let command):
            let captive = try CaptiveCommand(command, variables: await location(node).variables)
            let watch = Task {
                await obey(signals, node, logger)
                if !Task.isCancelled { captive.terminate() }
            }
            defer { watch.cancel() }
            return await captive.wait()
        }
    }

    /// Does what signals ask for until one asks to end.
    private func obey(_ signals: ProcessSignals, _ node: Node, _ logger: Logger) async {
        for await request in signals.requests {
            guard request == .reload else { return }
            ServiceManager.tell("RELOADING=1")
            do {
                try await node.reload(reread())
                logger.notice("the configuration was read again")
            } catch {
                logger.error("the configuration stays as it was: \(error)")
            }
            ServiceManager.tell("READY=1")
        }
    }

    private func location(_ node: Node) async throws -> ExportLocation {
        guard let address = await node.addresses.first else {
            throw CommandFailure(reason: "--run has no address to give to the command")
        }
        let export = configuration.exports.first { !$0.isDefault && configuration.exports.count > 1 }?.name ?? ""
        return ExportLocation(
            address: address, export: export, isEncrypted: configuration.tls.map { $0.mode == .required } ?? false)
    }
}
