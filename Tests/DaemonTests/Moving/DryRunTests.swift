import Foundation
import TestSupport
import Testing

@Suite("migrate --dry-run", .timeLimit(.minutes(10)))
struct DryRunTests {
    private struct Outcome: Decodable {
        let export: String
        let state: String
        let ledger: [String: Int]
        let wire: [String: Int]
    }

    private static func outcome(_ text: String) throws -> Outcome {
        try JSONDecoder().decode(Outcome.self, from: Data(text.utf8))
    }

    @Test("A dry run -> the same figures as the migration, and no change at either node")
    func predicts() async throws {
        let nodes = try await TwoNodes(megabytes: 24, index: true)
        // This neighbour has two thirds of the disk's blocks, and other bytes in the rest.
        var neighbour = try nodes.sourceImage
        neighbour.replaceSubrange((8 << 20)..<(16 << 20), with: Data(repeating: 7, count: 8 << 20))
        try neighbour.write(to: URL(fileURLWithPath: nodes.scratch.file("n.raw")))
        let added = try await Nearblock.run([
            "index", "add", "--index", nodes.scratch.file("index"), nodes.scratch.file("n.raw"),
        ])
        #expect(added.status == 0)

        let dry = try await nodes.migrate(["--dry-run", "--rate", "50M"])
        #expect(dry.status == 0, "\(dry.errors)")
        #expect(try FileManager.default.contentsOfDirectory(atPath: nodes.images).isEmpty)
        #expect(try await nodes.source.ask(["status"]).output.contains("serving"))
        let estimate = try Self.outcome(dry.output)
        #expect(estimate.state == "estimated")
        #expect(estimate.ledger.values.reduce(0, +) == 24 << 20)
        let json = try #require(try JSONSerialization.jsonObject(with: Data(dry.output.utf8)) as? [String: Any])
        let seconds = try #require((json["seconds"] as? [String: Double])?["total"])
        #expect(seconds >= Double(estimate.wire["total"]!) * 8 / 50e6)

        // An image that is gone gives nothing, whatever the index holds of it.
        let (image, elsewhere) = (nodes.scratch.file("n.raw"), nodes.scratch.file("elsewhere"))
        try FileManager.default.moveItem(atPath: image, toPath: elsewhere)
        let without = try Self.outcome(try await nodes.migrate(["--dry-run", "--rate", "50M"]).output)
        #expect(estimate.ledger["neighbour"]! > 0 && without.ledger["neighbour"] == 0, "\(without.ledger)")
        try FileManager.default.moveItem(atPath: elsewhere, toPath: image)

        let moved = try await nodes.migrate(["--rate", "50M"])
        #expect(moved.status == 0, "\(moved.errors)")
        let report = try Self.outcome(moved.output)
        #expect(estimate.ledger == report.ledger)
        let ratio = Double(estimate.wire["total"]!) / Double(report.wire["total"]!)
        #expect((0.9...1.1).contains(ratio), "\(estimate.wire) and \(report.wire)")
    }

    @Test("A disk that would return -> blocks of its old image count as present")
    func base() async throws {
        let nodes = try await TwoNodes(sourceTakesDisks: true)
        #expect(try await nodes.migrate().status == 0)
        let back = try await nodes.destination.ask([
            "migrate", "disk", "--to", "127.0.0.1:\(nodes.sourcePort)", "--dry-run", "--json",
        ])
        #expect(back.status == 0, "\(back.errors)")
        let ledger = try Self.outcome(back.output).ledger
        #expect(ledger["link"] == 0)
        #expect(ledger["present"]! > 0)
    }

    @Test("Its client disconnects -> the dry run ends")
    func interrupted() async throws {
        let nodes = try await TwoNodes(megabytes: 24)
        let ask =
            "\(Nearblock.path) migrate disk --to 127.0.0.1:\(nodes.port) --dry-run --control \(nodes.source.control)"
        // Fill all places for estimates with ones that take a minute each.
        let crowd = "for number in 1 2 3 4 5 6 7 8; do timeout 10 \(ask) --rate 8K & done; sleep 5; \(ask); wait"
        let refused = try await Command.run("bash", "-c", crowd)
        #expect(refused.errors.contains("are being looked at already"), "\(refused.errors)")
        try await waitUntil("there is room again") { try await nodes.migrate(["--dry-run"]).status == 0 }
    }

    @Test("A disk that can't be migrated, or has moved -> refused in one line")
    func refusals() async throws {
        let nodes = try await TwoNodes()
        try Data("other".utf8).write(to: URL(fileURLWithPath: "\(nodes.images)/disk.raw"))
        let taken = try await nodes.migrate(["--dry-run"])
        #expect(taken.status == 5, "the status of a refusal")
        #expect(taken.errors.contains("exists already"), "\(taken.errors)")
        try FileManager.default.removeItem(atPath: "\(nodes.images)/disk.raw")
        #expect(try await nodes.migrate().status == 0)
        let moved = try await nodes.migrate(["--dry-run"])
        #expect(moved.status == 1)
        #expect(moved.errors.contains("has moved"), "\(moved.errors)")
    }
}
