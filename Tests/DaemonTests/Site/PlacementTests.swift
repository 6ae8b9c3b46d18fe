import Foundation
import TestSupport
import Testing

/// `nearblock migrate` with several destinations.
@Suite("Several destinations", .timeLimit(.minutes(10)))
struct PlacementTests {
    private let scratch = Scratch()
    private let megabytes = 8

    private func source() async throws -> NodeProcess {
        try scratch.makeImage("disk.raw", megabytes: megabytes)
        return try await NodeProcess(scratch.file("s"), [scratch.file("disk.raw"), "--export", "disk"])
    }

    /// Starts a destination.
    /// - Parameters:
    ///   - folder: That of its images; nil for one in its own folder.
    ///   - hasNeighbour: Whether it has all blocks of the disk.
    private func destination(
        _ name: String, folder: String? = nil, hasNeighbour: Bool = false
    ) async throws -> (node: NodeProcess, address: String) {
        let port = try FreePort.find()
        let index = scratch.file("\(name)-index")
        if hasNeighbour {
            try FileManager.default.copyItem(
                atPath: scratch.file("disk.raw"), toPath: scratch.file("\(name)-neighbour.raw"))
            let added = try await Nearblock.run(
                ["index", "add", "--index", index, scratch.file("\(name)-neighbour.raw")])
            try #require(added.status == 0, "\(added.errors)")
        }
        let node = try await NodeProcess(
            scratch.file(name),
            [
                "--peer-listen", "127.0.0.1:\(port)", "--images", "\(folder ?? scratch.file(name))/images",
                "--index", index,
            ])
        return (node, "127.0.0.1:\(port)")
    }

    private func to(_ addresses: [String]) -> [String] { addresses.flatMap { ["--to", $0] } }

    @Test("Several destinations -> the one that has most of the disk; one that is away is named and skipped")
    func best() async throws {
        let source = try await source()
        let (plain, similar) = (try await destination("p"), try await destination("n", hasNeighbour: true))
        let away = "127.0.0.1:\(try FreePort.find())"
        let addresses = to([away, plain.address, similar.address])

        let dry = try await source.ask(["migrate", "disk", "--dry-run", "--json"] + addresses)
        #expect(dry.status == 0 && dry.output.split(separator: "\n").count == 2, "\(dry)")
        #expect(dry.output.split(separator: "\n").first?.contains(similar.address) == true, "\(dry)")

        let moved = try await source.ask(["migrate", "disk"] + addresses)
        #expect(moved.status == 0, "\(moved.errors)")
        let line = moved.errors.split(separator: "\n").first { $0.contains("to \(similar.address), where") } ?? ""
        #expect(line.contains(plain.address) && line.contains("\(away): cannot reach"), "\(moved.errors)")
        let image = try Data(contentsOf: URL(fileURLWithPath: "\(scratch.file("n"))/images/disk.raw"))
        #expect(try image == scratch.data("disk.raw"))
        #expect(try FileManager.default.contentsOfDirectory(atPath: "\(scratch.file("p"))/images").isEmpty)
        #expect(try await source.ask(["status"]).output.contains(similar.address))
    }

    @Test("The best one has no room -> the next; nobody has -> refused with the reason of each, and no data sent")
    func room() async throws {
        let source = try await source()
        let small = try SmallFileSystem(on: scratch.file("small"), size: "2M")
        defer { small.unmount() }
        let full = try await destination("f", folder: small.path, hasNeighbour: true)
        let plain = try await destination("p")

        let none = try await source.ask(["migrate", "disk", "--to", full.address, "--to", "127.0.0.1:1"])
        #expect(none.status != 0 && none.errors.contains("none of the destinations takes it"), "\(none)")
        #expect(none.errors.contains("No space left") && none.errors.contains("127.0.0.1:1: "), "\(none)")
        #expect(none.errors.filter { $0 == "\n" }.count == 1, "\(none)")
        #expect(try await source.ask(["status"]).output.contains("serving"))

        let detached = try await source.ask(
            ["migrate", "disk", "--to", full.address, "--to", plain.address, "--detach"])
        #expect(detached.status == 0 && detached.errors.contains("to \(plain.address), where"), "\(detached)")
        #expect(try await source.ask(["wait", "disk"]).status == 0)
        let image = try Data(contentsOf: URL(fileURLWithPath: "\(scratch.file("p"))/images/disk.raw"))
        #expect(try image == scratch.data("disk.raw"))
    }

    @Test("Mistakes -> one line each", arguments: [["a:1", "a:1"], (1...17).map { "a:\($0)" }, ["a:1", "a:0"]])
    func mistakes(_ addresses: [String]) async throws {
        let source = try await source()
        let result = try await source.ask(["migrate", "disk"] + to(addresses))
        #expect(result.status == 1 && result.errors.filter { $0 == "\n" }.count == 1, "\(result)")
        #expect(result.errors.contains("--to"), "\(result)")
    }
}
