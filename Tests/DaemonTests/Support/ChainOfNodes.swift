import Foundation
import TestSupport
import Testing

/// Nodes in a chain: `a` has `disk`; `b`, `c` and so on accept disks, as `a` does.
final class ChainOfNodes {
    let scratch = Scratch()
    let ports: [String: UInt16]
    private var nodes: [String: NodeProcess] = [:]

    init(megabytes: Int = 8, names: [String] = ["a", "b", "c"]) async throws {
        ports = Dictionary(uniqueKeysWithValues: try names.map { ($0, try FreePort.find()) })
        try scratch.makeImage("disk.raw", megabytes: megabytes)
        for name in names { try await start(name) }
    }

    subscript(name: String) -> NodeProcess { nodes[name]! }

    func address(of name: String) -> String { "127.0.0.1:\(ports[name]!)" }

    func start(_ name: String) async throws {
        let image = name == "a" ? [scratch.file("disk.raw"), "--export", "disk"] : []
        nodes[name] = try await NodeProcess(
            scratch.file(name),
            image + ["--peer-listen", address(of: name), "--images", scratch.file("\(name)/images")])
    }

    func restart(_ name: String) async throws {
        try await self[name].kill()
        try await start(name)
    }

    /// Returns the path of the disk's file at node `name`.
    func image(of name: String) throws -> Data {
        try scratch.data(name == "a" ? "disk.raw" : "\(name)/images/disk.raw")
    }

    func migrate(from name: String, to destination: String) async throws {
        let result = try await self[name].ask(["migrate", "disk", "--to", destination])
        #expect(result.status == 0, "\(result.errors)")
    }

    func migrate(_ name: String, _ other: String) async throws {
        try await migrate(from: name, to: address(of: other))
    }

    /// Returns the disk's entry in `nearblock status --json`.
    func status(of name: String) async throws -> [String: Any] {
        try await self[name].exports().first { $0["export"] as? String == "disk" } ?? [:]
    }

    /// Waits until the clients of `name` are forwarded to `other`.
    func wait(for name: String, toForwardTo other: String) async throws {
        try await waitUntil("\(name) forwards to \(other)") {
            try await status(of: name)["destination"] as? String == address(of: other)
        }
    }

    /// Writes, flushes and reads as a client of `name`.
    func write(_ pattern: Int, at offset: String = "0", through name: String) async throws {
        let result = try await Command.run(
            "qemu-io",
            [
                "-f", "raw", "-c", "write -P \(pattern) \(offset) 64k", "-c", "flush",
                "-c", "read -P \(pattern) \(offset) 64k", self[name].uri(),
            ])
        #expect(result.status == 0, "\(result.output) \(result.errors)")
    }
}
