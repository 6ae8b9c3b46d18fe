import Foundation
import TestSupport
import Testing

/// `nearblock reload`.
@Suite("nearblock reload", .timeLimit(.minutes(5)))
struct ReloadCommandTests {
    private let scratch = Scratch()

    /// Replaces the file as a whole: a node may be reading it.
    private func write(_ text: String) throws -> String {
        let new = try scratch.write(Array(text.utf8), to: "n.conf.new")
        guard rename(new, scratch.file("n.conf")) == 0 else { throw CocoaError(.fileWriteUnknown) }
        return scratch.file("n.conf")
    }

    private func size(_ node: NodeProcess, _ name: String) async throws -> String {
        try await Command.run("nbdinfo", "--size", node.uri(name)).output
    }

    @Test("A changed configuration -> applied when the command returns, which says what has changed")
    func applied() async throws {
        let (a, b) = (try scratch.hole(1 << 20, "a.raw"), try scratch.hole(2 << 20, "b.raw"))
        let path = try write("[export a]\nimage = \(a)\n")
        let node = try await NodeProcess(scratch.file("node"), ["--config", path])
        _ = try write("[node]\nkeep-index = 5m\nindex = \(scratch.file("i"))\n[export b]\nimage = \(b)\n")
        let result = try await node.ask(["reload"])
        #expect(result.status == 0, "\(result)")
        for part in [
            "a is no longer offered\n", "b is offered\n",
            "index has changed, which takes effect only after a restart\n",
            "the configuration was reloaded\n",
        ] { #expect(result.output.contains(part), "\(result)") }
        #expect(try await size(node, "b") == "2097152\n")
        #expect(try await size(node, "a").isEmpty)
        #expect(node.messages.contains("the configuration was reloaded"), "\(node.messages)")
        #expect(try await node.stop() == 0)
    }

    @Test("A mistake, or certificates that can't be used -> status 1 and the reason; all stays as it was")
    func refused() async throws {
        let image = try scratch.hole(1 << 20, "a.raw")
        let path = try write("[export a]\nimage = \(image)\n")
        let node = try await NodeProcess(scratch.file("node"), ["--config", path])
        for (text, part) in [
            ("[export a]\nimgae = \(image)\n", "n.conf:2: [export a] imgae is unknown"),
            (
                "[node]\ntls = \(scratch.file("none"))\n[export a]\nimage = \(image)\n",
                "\(scratch.file("none")) has neither"
            ),
        ] {
            _ = try write(text)
            let result = try await node.ask(["reload"])
            #expect(result.status == 1 && result.errors.contains(part), "\(result)")
            #expect(result.errors.contains("the configuration stays as it was"), "\(result)")
            #expect(result.errors.filter { $0 == "\n" }.count == 1, "\(result)")
        }
        #expect(try await size(node, "a") == "1048576\n")
        #expect(try await node.stop() == 0)
    }

    @Test("An export that can't be opened -> status 1, and the others are served")
    func heldBack() async throws {
        let (a, b) = (try scratch.hole(1 << 20, "a.raw"), try scratch.hole(2 << 20, "b.raw"))
        let path = try write("[export a]\nimage = \(a)\n")
        let node = try await NodeProcess(scratch.file("node"), ["--config", path])
        _ = try write(
            "[export a]\nimage = \(a)\n[export b]\nimage = \(b)\n[export c]\nimage = \(scratch.file("none"))\n")
        let result = try await node.ask(["reload"])
        #expect(result.status == 1 && result.errors.contains("c is not offered: "), "\(result)")
        #expect(result.output.contains("b is offered\n"), "\(result)")
        #expect(try await size(node, "b") == "2097152\n")
        #expect(try await node.stop() == 0)
    }

    @Test("Many reloads and SIGHUPs at once -> one after the other, and the last file counts")
    func crowd() async throws {
        let image = try scratch.hole(1 << 20, "a.raw")
        let path = try write("[export a]\nimage = \(image)\n")
        let node = try await NodeProcess(scratch.file("node"), ["--config", path])
        try await withThrowingTaskGroup(of: Int32.self) { group in
            for number in 0..<12 {
                if number % 3 == 0 { node.signal(SIGHUP) }
                _ = try write("[export a\(number)]\nimage = \(image)\n")
                group.addTask { try await node.ask(["reload"]).status }
            }
            for try await status in group { #expect(status == 0) }
        }
        #expect(try await node.ask(["reload"]).status == 0)
        #expect(try await node.exports().compactMap { $0["export"] as? String } == ["a11"])
        #expect(try await node.stop() == 0)
    }

    @Test("No node -> one line and status 1")
    func absent() async throws {
        let result = try await Nearblock.run(["reload", "--control", scratch.file("none")])
        #expect(result.status == 1 && result.errors.contains("cannot reach a node at"), "\(result)")
    }
}
