import Foundation
import TestSupport
import Testing

@Suite("The index, changed by processes", .timeLimit(.minutes(10)))
struct IndexProcessTests {
    private let scratch = Scratch()

    private var index: [String] { ["--index", scratch.file("index")] }

    private func list() async throws -> String {
        let result = try await Nearblock.run(["index", "list", "--json"] + index)
        #expect(result.status == 0 && result.errors.isEmpty, "\(result.errors)")
        return result.output
    }

    @Test("An add killed at any moment -> the old or the new table")
    func killed() async throws {
        var random = Seeded.fresh()
        try scratch.makeImage("a.raw", megabytes: 16)
        let add = ["index", "add", "--priority", "normal", scratch.file("a.raw")] + index
        #expect(try await Nearblock.run(add).status == 0)
        let began = ContinuousClock.now
        #expect(try await Nearblock.run(add).status == 0)
        let whole = began.duration(to: .now) / .seconds(1)
        for _ in 0..<25 {
            let before = try await list()
            try Data(random.bytes(4096)).write(to: URL(fileURLWithPath: scratch.file("patch")))
            _ = try await Command.run(
                "dd", "if=\(scratch.file("patch"))", "of=\(scratch.file("a.raw"))", "conv=notrunc", "status=none")
            let delay = Double.random(in: 0...whole * 1.2, using: &random)
            let status = try await Command.run(
                "timeout", ["-s", "KILL", String(format: "%.3f", delay + 0.001), Nearblock.path] + add
            ).status
            let verified = try await Nearblock.run(["index", "verify"] + index)
            #expect(verified.status == 0, "\(verified.errors)")
            if status == 0 { continue }
            let after = try await list()
            if after != before {
                // The kill came after the table was published, so the index describes the current image.
                let refreshed = try await Nearblock.run(["index", "refresh", scratch.file("a.raw")] + index)
                #expect(refreshed.status == 0 && refreshed.output.isEmpty, "\(refreshed.output)")
            }
        }
        #expect(try await Nearblock.run(add).status == 0)
        let files = try FileManager.default.contentsOfDirectory(atPath: scratch.file("index"))
        #expect(!files.contains { $0.hasSuffix(".tmp") }, "\(files)")
    }

    @Test("Concurrent add, remove and refresh -> all succeed")
    func twoAtOnce() async throws {
        for name in ["a", "b", "c", "d"] { try scratch.makeImage("\(name).raw", megabytes: 2) }
        try await withThrowingTaskGroup(of: Void.self) { group in
            for names in [["a", "b"], ["c", "d"]] {
                group.addTask {
                    for round in 0..<6 {
                        let images = names.map { scratch.file("\($0).raw") }
                        let added = try await Nearblock.run(["index", "add"] + images + index)
                        #expect(added.status == 0, "\(added.errors)")
                        if round % 3 == 1 {
                            let removed = try await Nearblock.run(["index", "remove", images[0], "--json"] + index)
                            #expect(removed.status == 0 && removed.output == "{\"removed\":[\"\(images[0])\"]}\n")
                        }
                        let measured = try await Nearblock.run(["index", "similarity", images[1], "--json"] + index)
                        #expect(measured.status == 0 && measured.errors.isEmpty, "\(measured.errors)")
                        #expect(measured.output.contains("\"found\":341,"), "\(measured.output)")
                    }
                }
            }
            try await group.waitForAll()
        }
        #expect(try await Nearblock.run(["index", "refresh"] + index).status == 0)
        let verified = try await Nearblock.run(["index", "verify", "--json"] + index)
        #expect(verified.status == 0 && verified.output == "{\"problems\":[]}\n")
        let stats = try await Nearblock.run(["index", "stats", "--json"] + index)
        #expect(
            stats.output.contains("\"neighbours\":4") && stats.output.contains("\"catalogues\":1,"), "\(stats.output)")
    }

    @Test("Refresh with missing images -> they are named, and the rest is updated")
    func refresh() async throws {
        for name in ["a", "b"] { try scratch.makeImage("\(name).raw", megabytes: 1) }
        #expect(
            try await Nearblock.run(["index", "add", scratch.file("a.raw"), scratch.file("b.raw")] + index).status == 0)
        try FileManager.default.removeItem(atPath: scratch.file("a.raw"))
        try scratch.makeImage("b.raw", megabytes: 2)
        let result = try await Nearblock.run(["index", "refresh", "--json"] + index)
        #expect(result.status == 1 && result.errors.contains("a.raw"), "\(result.errors)")
        #expect(result.output.contains("\"blocks\":512"), "\(result.output)")
    }

    @Test("Domains -> kept, counted separately; invalid ones -> refused")
    func domains() async throws {
        try scratch.makeImage("a.raw", megabytes: 1)
        #expect(
            try await Nearblock.run(["index", "add", "--domain", "shop", scratch.file("a.raw")] + index).status == 0)
        #expect(try await list().contains("\"domain\":\"shop\""))
        for (domain, found) in [("shop", "\"found\":170,"), ("other", "\"found\":0,")] {
            let measured = try await Nearblock.run(
                ["index", "similarity", scratch.file("a.raw"), "--json", "--domain", domain] + index)
            #expect(measured.output.contains(found), "\(measured.output)")
        }
        let refused = try await Nearblock.run(["index", "add", "--domain", "", scratch.file("a.raw")] + index)
        #expect(refused.status == 1 && refused.errors.contains("domain"))
    }
}
