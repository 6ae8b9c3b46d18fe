import Foundation
import TestSupport
import Testing

/// Walks every command, as the argument parser describes them.
@Suite("The help of every command", .timeLimit(.minutes(10)))
struct HelpTests {
    /// Rows at 80 columns, for commands with many options or subcommands, and for the others.
    private static let mostRowsOfLarge = ["": 50, "serve": 50, "migrate": 50, "memory": 36]
    private static let mostRows = 26

    private struct Dump: Decodable {
        let command: Described
    }

    private final class Described: Decodable, Sendable {
        let commandName: String
        let arguments: [Argument]?
        let subcommands: [Described]?
    }

    private struct Argument: Decodable {
        struct Name: Decodable {
            let kind: String
            let name: String
        }
        let names: [Name]?

        var long: [String] { (names ?? []).filter { $0.kind == "long" }.map(\.name) }
    }

    private struct Entry {
        /// The words behind the program's name.
        let path: [String]
        let options: [String]
        let subcommands: [String]
    }

    private func entries() async throws -> [Entry] {
        let dumped = try await Nearblock.run(["--experimental-dump-help"])
        let root = try JSONDecoder().decode(Dump.self, from: Data(dumped.output.utf8)).command
        var entries: [Entry] = []
        func walk(_ command: Described, _ path: [String]) {
            let below = (command.subcommands ?? []).filter { $0.commandName != "help" }
            entries.append(
                Entry(
                    path: path, options: (command.arguments ?? []).flatMap(\.long),
                    subcommands: below.map(\.commandName)))
            for next in below { walk(next, path + [next.commandName]) }
        }
        walk(root, [])
        return entries
    }

    @Test("Each command -> fits a screen of 80 columns, and has two examples of its own options")
    func screens() async throws {
        let entries = try await entries()
        #expect(entries.count > 15)
        for entry in entries {
            let name = entry.path.joined(separator: " ")
            let help = try await Nearblock.run(entry.path + ["--help"])
            #expect(help.status == 0 && help.errors.isEmpty, "\(name)")
            var rows = help.output.components(separatedBy: "\n")
            while rows.last?.isEmpty == true { rows.removeLast() }
            #expect(rows.count <= Self.mostRowsOfLarge[name] ?? Self.mostRows, "\(name): \(rows.count) rows")
            for row in rows { #expect(row.count <= 80, "\(name): \(row)") }
            let examples = rows.drop { $0 != "Examples:" }.dropFirst().prefix { $0.hasPrefix("  nearblock ") }
            #expect(examples.count >= 2, "\(name) has \(examples.count) examples")
            let known = Set(entries.filter { $0.path.starts(with: entry.path) }.flatMap(\.options))
            for example in examples {
                #expect(example.hasPrefix("  nearblock" + entry.path.map { " \($0)" }.joined()), "\(example)")
                for word in example.split(separator: " ") where word.hasPrefix("--") {
                    #expect(known.contains(String(word.dropFirst(2))), "\(example): there is no \(word)")
                }
            }
        }
    }

    @Test("A slip in each command and each option -> the message names what was meant")
    func slips() async throws {
        for entry in try await entries() {
            for name in entry.subcommands where name.count > 3 {
                let said = try await Nearblock.run(entry.path + [slip(name)])
                #expect(said.status == 2 && said.errors.contains("did you mean '\(name)'?"), "\(said.errors)")
            }
            for name in entry.options where name.count > 3 && !entry.options.contains(slip(name)) {
                let said = try await Nearblock.run(entry.path + ["--\(slip(name))"])
                #expect(said.status == 2, "\(entry.path) --\(slip(name)): \(said.errors)")
                #expect(said.errors.contains("did you mean '--"), "\(entry.path) --\(slip(name)): \(said.errors)")
            }
        }
    }

    /// The name with two letters swapped in the middle.
    private func slip(_ name: String) -> String {
        var letters = Array(name)
        let middle = letters.count / 2
        letters.swapAt(middle, middle - 1)
        if String(letters) == name { letters.remove(at: middle) }
        return String(letters)
    }

    @Test("A slip in the name of an export -> the message names the export that was meant")
    func exports() async throws {
        let scratch = Scratch()
        try scratch.makeImage("disk.raw", megabytes: 1)
        let node = try await NodeProcess(scratch.file("node"), [scratch.file("disk.raw"), "--export", "database"])
        for command in [["switch"], ["cancel"], ["rate"], ["checkpoint"], ["migrate", "--to", "127.0.0.1:1"]] {
            let said = try await node.ask(command + ["databsae"])
            #expect(said.status == 1 && said.errors.contains("did you mean 'database'?"), "\(command): \(said.errors)")
            let far = try await node.ask(command + ["web"])
            #expect(far.status == 1 && !far.errors.contains("did you mean"), "\(command): \(far.errors)")
        }
        #expect(try await node.stop() == 0)
    }

    @Test("A shell completes an export -> the names of the node; none and no word if it does not answer")
    func completion() async throws {
        let scratch = Scratch()
        try scratch.makeImage("disk.raw", megabytes: 1)
        let node = try await NodeProcess(scratch.file("node"), [scratch.file("disk.raw"), "--export", "database"])
        func complete(_ control: String) async throws -> Command.Result {
            // As the script for bash calls it.
            try await Command.run(
                "env",
                [
                    "SAP_SHELL=bash", "SAP_SHELL_VERSION=5.2", Nearblock.path, "---completion", "switch", "--",
                    "positional@0", "4", "0", "nearblock", "switch", "--control", control, "",
                ])
        }
        let here = try await complete(node.control)
        #expect(here.status == 0 && here.output.split(separator: "\n").contains("database"), "\(here)")
        let gone = try await complete(scratch.file("none"))
        #expect(gone.status == 0 && gone.output.isEmpty && gone.errors.isEmpty, "\(gone)")
        // One that accepts and says nothing.
        let silent = scratch.file("silent")
        let listener = try ChildProcess(
            "/usr/bin/python3",
            [
                "-c",
                "import socket,sys,time; s=socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen(); time.sleep(60)",
                silent,
            ])
        try await waitUntil("it listens") { UnixAddress.isListening(at: silent) }
        let start = ContinuousClock.now
        let waited = try await complete(silent)
        #expect(waited.status == 0 && waited.output.isEmpty && waited.errors.isEmpty, "\(waited)")
        #expect(start.duration(to: .now) < .seconds(10), "a shell waits for it")
        listener.signal(SIGKILL)
        #expect(try await node.stop() == 0)
    }
}
