import Foundation
import TestSupport
import Testing

/// A source that serves `disk`, and a destination.
final class TwoNodes {
    let scratch: Scratch
    let port: UInt16
    private(set) var source: NodeProcess
    private(set) var destination: NodeProcess

    /// Peer port of the source.
    let sourcePort: UInt16
    private let sourceTakesDisks: Bool

    init(
        megabytes: Int = 8, images: String? = nil, index: Bool = false, name: String = "disk",
        sourceTakesDisks: Bool = false
    ) async throws {
        sourcePort = try FreePort.find()
        self.sourceTakesDisks = sourceTakesDisks
        scratch = Scratch()
        self.images = images ?? scratch.file("d/images")
        hasIndex = index
        port = try FreePort.find()
        try scratch.makeImage("disk.raw", megabytes: megabytes)
        let destinationArguments = Self.destinationArguments(scratch, port, self.images, index)
        destination = try await NodeProcess(scratch.file("d"), destinationArguments)
        source = try await NodeProcess(
            scratch.file("s"), Self.sourceArguments(scratch, name, sourceTakesDisks ? sourcePort : nil))
    }

    let images: String
    private let hasIndex: Bool

    func restartSource() async throws {
        try await source.kill()
        source = try await NodeProcess(
            scratch.file("s"), Self.sourceArguments(scratch, "disk", sourceTakesDisks ? sourcePort : nil))
    }

    func restartDestination() async throws {
        try await destination.kill()
        destination = try await NodeProcess(
            scratch.file("d"), Self.destinationArguments(scratch, port, images, hasIndex))
    }

    /// Runs `nearblock migrate disk` to its end.
    func migrate(_ options: [String] = []) async throws -> Command.Result {
        try await source.ask(["migrate", "disk", "--to", "127.0.0.1:\(port)", "--json"] + options)
    }

    /// Begins a migration that waits for `nearblock switch`, and returns once the disk could go.
    func beginWaitingMigration() async throws {
        let begun = try await source.ask([
            "migrate", "disk", "--to", "127.0.0.1:\(port)", "--switch", "manual", "--detach",
        ])
        #expect(begun.status == 0, "\(begun.errors)")
        try await waitUntil("it could go") { try await source.ask(["status"]).output.contains("waiting") }
    }

    /// Starts a migration that takes a minute; returns when it copies.
    func beginSlowMigration() async throws {
        let begun = try await source.ask([
            "migrate", "disk", "--to", "127.0.0.1:\(port)", "--rate", "1M", "--detach",
        ])
        #expect(begun.status == 0, "\(begun.errors)")
        try await waitUntil("it copies") { try await source.ask(["status"]).output.contains("copying") }
    }

    var sourceImage: Data { get throws { try scratch.data("disk.raw") } }
    var destinationImage: Data {
        get throws { try Data(contentsOf: URL(fileURLWithPath: "\(images)/disk.raw")) }
    }

    private static func sourceArguments(_ scratch: Scratch, _ name: String, _ port: UInt16?) -> [String] {
        [scratch.file("disk.raw"), "--export", name]
            + (port.map { ["--peer-listen", "127.0.0.1:\($0)", "--images", scratch.file("s/images")] } ?? [])
    }

    private static func destinationArguments(
        _ scratch: Scratch, _ port: UInt16, _ images: String, _ index: Bool
    ) -> [String] {
        ["--peer-listen", "127.0.0.1:\(port)", "--images", images]
            + (index ? ["--index", scratch.file("index")] : [])
    }
}
