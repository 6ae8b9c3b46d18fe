import Foundation
import TestSupport

/// A source with its exports in a configuration file, and a destination.
final class ConfiguredNodes {
    let scratch = Scratch()
    let port: UInt16
    /// Peer port of the source.
    let sourcePort: UInt16
    private(set) var destination: NodeProcess
    private(set) var source: NodeProcess

    /// - Parameter exports: Sections of the source's configuration.
    init(_ exports: (Scratch) async throws -> String) async throws {
        port = try FreePort.find()
        sourcePort = try FreePort.find()
        let configuration = try await exports(scratch)
        destination = try await Self.startDestination(scratch, port)
        try Self.write(configuration, scratch)
        source = try await Self.startSource(scratch, sourcePort)
    }

    /// Migrates an export to its end.
    func migrate(_ name: String, _ options: [String] = []) async throws -> Command.Result {
        try await source.ask(["migrate", name, "--to", "127.0.0.1:\(port)"] + options)
    }

    /// Migrates a disk back from the destination.
    func moveBack(_ name: String, _ options: [String] = []) async throws -> Command.Result {
        try await destination.ask(["migrate", name, "--to", "127.0.0.1:\(sourcePort)"] + options)
    }

    /// Starts a migration that copies for minutes.
    func beginSlowly(_ name: String) async throws -> Bool {
        let begun = try await migrate(name, ["--rate", "100K", "--detach"])
        guard begun.status == 0 else { return false }
        try await waitUntil("it copies") { try await state(of: name).contains("copying") }
        return true
    }

    /// Kills the node, runs `body`, and starts the node again.
    func restartSource(_ exports: String? = nil, meanwhile: () async throws -> Void = {}) async throws {
        try await source.kill()
        try await meanwhile()
        if let exports { try Self.write(exports, scratch) }
        source = try await Self.startSource(scratch, sourcePort)
    }

    func restartDestination(_ images: String? = nil, meanwhile: () async throws -> Void = {}) async throws {
        try await destination.kill()
        try await meanwhile()
        destination = try await Self.startDestination(scratch, port, images)
    }

    /// Writes the source's configuration, sends SIGHUP, and waits until it is loaded.
    func reload(_ exports: String? = nil) async throws {
        if let exports { try Self.write(exports, scratch) }
        let before = source.messages.count(of: "reloaded")
        source.signal(SIGHUP)
        try await waitUntil("it has read its configuration again") { source.messages.count(of: "reloaded") > before }
    }

    /// Returns state and problem of an export in the source's status.
    func state(of name: String) async throws -> String { try await Self.state(of: name, at: source) }

    func stateThere(of name: String) async throws -> String { try await Self.state(of: name, at: destination) }

    var state: String { "\(source.folder)/state" }

    private static func state(of name: String, at node: NodeProcess) async throws -> String {
        let export = try await node.exports().first { $0["export"] as? String == name }
        return "\(export?["state"] as? String ?? "none") \(export?["problem"] as? String ?? "")"
    }

    private static func write(_ exports: String, _ scratch: Scratch) throws {
        _ = try scratch.write(Array(exports.utf8), to: "nodes.conf")
    }

    private static func startSource(_ scratch: Scratch, _ port: UInt16) async throws -> NodeProcess {
        try await NodeProcess(
            scratch.file("s"),
            [
                "--config", scratch.file("nodes.conf"), "--peer-listen", "127.0.0.1:\(port)", "--images",
                scratch.file("s/images"),
            ])
    }

    private static func startDestination(
        _ scratch: Scratch, _ port: UInt16, _ images: String? = nil
    ) async throws -> NodeProcess {
        try await NodeProcess(
            scratch.file("d"),
            ["--peer-listen", "127.0.0.1:\(port)", "--images", images ?? scratch.file("d/images")])
    }
}

extension String {
    fileprivate func count(of part: String) -> Int { components(separatedBy: part).count - 1 }
}
