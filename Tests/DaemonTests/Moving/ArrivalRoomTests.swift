import Foundation
import TestSupport
import Testing

@Suite("Free space at the destination", .timeLimit(.minutes(10)))
struct ArrivalRoomTests {
    private let scratch = Scratch()

    /// Starts a source with disks of these sizes in MiB, named by their positions.
    private func source(_ megabytes: Int...) async throws -> NodeProcess {
        var lines = ""
        for (number, size) in megabytes.enumerated() {
            try scratch.makeImage("\(number).raw", megabytes: size)
            lines += "[export disk\(number)]\nimage = \(scratch.file("\(number).raw"))\n"
        }
        try Data(lines.utf8).write(to: URL(fileURLWithPath: scratch.file("source.conf")))
        return try await NodeProcess(scratch.file("s"), ["--config", scratch.file("source.conf")])
    }

    private func expectRefused(_ answer: Command.Result, in folder: String) {
        let folder = folder.split(separator: "/").suffix(2).joined(separator: "/")
        #expect(answer.status == 6, "the status of no room")
        #expect(answer.errors.contains("No space left"), "\(answer.errors)")
        #expect(answer.errors.contains(folder), "\(answer.errors)")
        #expect(answer.errors.filter { $0 == "\n" }.count == 1, "\(answer.errors)")
    }

    private func files(_ folder: String) throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: folder)
    }

    @Test("Too little space beside other disks -> refused at once, also in a dry run; holes need none")
    func images() async throws {
        let small = try SmallFileSystem(on: scratch.file("small"), size: "12M")
        defer { small.unmount() }
        let port = try FreePort.find()
        let images = "\(small.path)/images"
        let destination = try await NodeProcess(
            scratch.file("d"), ["--peer-listen", "127.0.0.1:\(port)", "--images", images])
        let source = try await source(16, 7, 7)
        func migrate(_ arguments: String...) async throws -> Command.Result {
            try await source.ask(["migrate", "--to", "127.0.0.1:\(port)"] + arguments)
        }
        expectRefused(try await migrate("disk0"), in: images)
        expectRefused(try await migrate("disk0", "--dry-run"), in: images)
        for options in [[], ["--dry-run"]] {
            let together = try await source.ask(["migrate", "disk1", "disk2", "--to", "127.0.0.1:\(port)"] + options)
            expectRefused(together, in: images)
        }
        try await waitUntil("nothing is there") { try files(images).isEmpty }

        #expect(try await migrate("disk1", "--rate", "1M", "--detach").status == 0)
        try await waitUntil("it copies") { try await source.ask(["status"]).output.contains("copying") }
        let second = try await migrate("disk2")
        expectRefused(second, in: images)
        #expect(second.errors.contains("with the other disks that are arriving"), "\(second.errors)")
        #expect(try await source.ask(["status"]).output.contains("copying"), "the other one goes on")
        #expect(try await source.ask(["cancel", "disk1"]).status == 0)
        try await waitUntil("nothing is there") { try files(images).isEmpty }
        #expect(try await migrate("disk2", "--dry-run").status == 0)

        // Most of the disk is a hole now.
        #expect(truncate(scratch.file("0.raw"), 1 << 20) == 0 && truncate(scratch.file("0.raw"), 16 << 20) == 0)
        let sparse = try await migrate("disk0")
        #expect(sparse.status == 0, "\(sparse.errors)")
        #expect(try Data(contentsOf: URL(fileURLWithPath: "\(images)/disk0.raw")) == scratch.data("0.raw"))
        #expect(try await destination.stop() == 0)
    }

    @Test("Too little space for state directory or index -> refused")
    func otherFolders() async throws {
        for folder in ["d/state", "index"] {
            try FileManager.default.createDirectory(atPath: scratch.file("d"), withIntermediateDirectories: true)
            let small = try SmallFileSystem(on: scratch.file(folder), size: "280K")
            defer { small.unmount() }
            let port = try FreePort.find()
            let destination = try await NodeProcess(
                scratch.file("d"),
                [
                    "--peer-listen", "127.0.0.1:\(port)", "--images", scratch.file("images"), "--index",
                    scratch.file("index"), "--keep-index", "600s",
                ])
            let source = try await source(8)
            expectRefused(try await source.ask(["migrate", "disk0", "--to", "127.0.0.1:\(port)"]), in: small.path)
            #expect(try files(scratch.file("images")).isEmpty)
            let all = ["migrate", "disk0", "--to", "127.0.0.1:\(port)", "--no-space-check"]
            let forced = try await source.ask(all)
            #expect(forced.status == 0, "\(forced.errors)")
            #expect(try await destination.stop() == 0)
            #expect(try await source.stop() == 0)
            for name in ["images", "s"] { try FileManager.default.removeItem(atPath: scratch.file(name)) }
        }
    }
}
