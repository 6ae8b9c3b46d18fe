import Foundation
import TestSupport
import Testing

/// Impossible numbers in state files give an error in one line; neither the node nor its next start crashes.
@Suite("Numbers in state files", .timeLimit(.minutes(20)))
struct NumbersInFilesTests {
    private static let nasty = [
        "-1", "0", "9223372036854775807", "18446744073709551615", "-9223372036854775808", "1e300",
    ]

    /// Returns variants of a JSON text in which one or all numbers are replaced.
    private func variants(of text: String) throws -> [String] {
        let number = try NSRegularExpression(pattern: #"(?<=: )-?[0-9][0-9.eE+-]*(?=[,\n])"#)
        let places = number.matches(in: text, range: NSRange(text.startIndex..., in: text))
        return places.compactMap { Range($0.range, in: text) }.flatMap { range in
            Self.nasty.map { text.replacingCharacters(in: range, with: $0) }
        }
    }

    /// Returns whether a node with these arguments becomes ready and ends properly, or reports in one line why not.
    private func expectAlive(_ folder: String, _ arguments: [String], _ what: String) async throws {
        let script = """
            import os, signal, subprocess, sys, time
            log = open(sys.argv[1] + "/log", "w+")
            node = subprocess.Popen(sys.argv[2:], stderr=log)
            end = time.time() + 50
            while node.poll() is None and time.time() < end and "ready: " not in open(log.name).read(): time.sleep(0.01)
            # What goes on after that has its chance.
            time.sleep(0.05)
            alive = node.poll() is None
            if alive: node.send_signal(signal.SIGTERM)
            node.wait()
            print(node.returncode, alive)
            """
        let result = try await Command.run(
            "python3",
            [
                "-c", script, folder, Nearblock.path, "serve", "--control", "\(folder)/control", "--state",
                "\(folder)/state", "--socket", "\(folder)/nbd",
            ] + arguments)
        let said = (try? String(contentsOfFile: "\(folder)/log", encoding: .utf8)) ?? ""
        #expect(["0 True\n", "1 False\n"].contains(result.output), "\(what): \(result) \(said)")
        #expect(!said.contains("Fatal error") && !said.contains("Crash"), "\(what): \(said)")
    }

    /// Tries every variant of every record in a node's state directory.
    private func tryAll(_ scratch: Scratch, _ folder: String, _ arguments: [String]) async throws {
        let state = scratch.file("\(folder)/state")
        let names = try FileManager.default.contentsOfDirectory(atPath: state).filter { $0.hasSuffix(".json") }
        let originals = try names.map { ($0, try String(contentsOfFile: "\(state)/\($0)", encoding: .utf8)) }
        #expect(!originals.isEmpty)
        var tried = 0
        for (name, text) in originals {
            for variant in try variants(of: text) {
                // The node may have changed or deleted the record.
                for (name, text) in originals {
                    try text.write(toFile: "\(state)/\(name)", atomically: false, encoding: .utf8)
                }
                try variant.write(toFile: "\(state)/\(name)", atomically: false, encoding: .utf8)
                try await expectAlive(scratch.file(folder), arguments, "\(name): \(variant)")
                tried += 1
            }
        }
        #expect(tried > 10, "\(tried)")
    }

    @Test("Records of an interrupted migration, at the source and at the destination")
    func underWay() async throws {
        let nodes = try await TwoNodes(megabytes: 1)
        let begun = try await nodes.source.ask([
            "migrate", "disk", "--to", "127.0.0.1:\(nodes.port)", "--rate", "1M", "--max-pause", "1s", "--max-rounds",
            "7",
            "--dirty-threshold", "4K", "--detach",
        ])
        #expect(begun.status == 0, "\(begun)")
        try await waitUntil("it copies") { try await nodes.source.ask(["status"]).output.contains("copying") }
        try await nodes.source.kill()
        try await nodes.destination.kill()
        try await tryAll(nodes.scratch, "s", [nodes.scratch.file("disk.raw"), "--export", "disk"])
    }

    @Test("Records of a moved disk, at the source and at the destination")
    func moved() async throws {
        let nodes = try await TwoNodes(megabytes: 1)
        #expect(try await nodes.migrate(["--switch", "now", "--rate", "100M"]).status == 0)
        try await nodes.source.kill()
        try await nodes.destination.kill()
        try await tryAll(nodes.scratch, "s", [nodes.scratch.file("disk.raw"), "--export", "disk"])
        try await tryAll(
            nodes.scratch, "d", ["--peer-listen", "127.0.0.1:\(nodes.port)", "--images", nodes.images])
    }
}
