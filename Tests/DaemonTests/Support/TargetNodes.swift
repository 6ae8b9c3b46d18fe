import Foundation
import TestSupport
import Testing

/// A source that serves `disk`, and a destination whose commands make the places of disks and are counted.
final class TargetNodes {
    let scratch = Scratch()
    let port: UInt16
    let sourcePort: UInt16
    private(set) var source: NodeProcess
    private(set) var destination: NodeProcess

    /// - Parameters:
    ///   - prepare: lines of shell that print the place; `$PLACE` is `place` in the scratch folder.
    ///   - release: lines of shell.
    init(megabytes: Int = 8, prepare: String, release: String = "", place: (Scratch) throws -> Void = { _ in })
        async throws
    {
        port = try FreePort.find()
        sourcePort = try FreePort.find()
        try scratch.makeImage("disk.raw", megabytes: megabytes)
        try place(scratch)
        try Self.write(prepare, "prepare", scratch)
        try Self.write(release, "release", scratch)
        destination = try await Self.startDestination(scratch, port)
        source = try await Self.startSource(scratch, sourcePort)
    }

    /// The place that the commands print, unless they say otherwise.
    var place: String { scratch.file("place") }

    /// One line for each command that has run.
    var calls: [String] {
        let text = (try? String(contentsOfFile: scratch.file("calls"), encoding: .utf8)) ?? ""
        return text.split(separator: "\n").map(String.init)
    }

    /// The records of places in the destination's state directory.
    var records: [String] {
        get throws {
            try FileManager.default.contentsOfDirectory(atPath: scratch.file("d/state")).filter {
                $0.hasPrefix("target-")
            }
        }
    }

    func setPrepare(_ lines: String) throws { try Self.write(lines, "prepare", scratch) }

    func migrate(_ options: [String] = []) async throws -> Command.Result {
        try await source.ask(["migrate", "disk", "--to", "127.0.0.1:\(port)", "--json"] + options)
    }

    func begin(_ options: [String] = []) async throws {
        let begun = try await migrate(["--detach"] + options)
        #expect(begun.status == 0, "\(begun.errors)")
    }

    func restartDestination(meanwhile: () throws -> Void = {}) async throws {
        try await destination.kill()
        try meanwhile()
        destination = try await Self.startDestination(scratch, port)
    }

    func restartSource() async throws {
        try await source.kill()
        source = try await Self.startSource(scratch, sourcePort)
    }

    func wait(for state: String, at node: NodeProcess) async throws {
        try await waitUntil("it is \(state)") { try await node.ask(["status"]).output.contains(state) }
    }

    /// Waits until the destination has the disk, and needs nothing of the source any more.
    func waitUntilMoved() async throws {
        try await waitUntil("it has moved") {
            let state = try await source.exports().first?["state"] as? String
            return state == "moved" || state == "released"
        }
    }

    /// Expects that clients of a node read the source's image, whatever stands beyond it.
    func expectDisk(at node: NodeProcess, _ expected: Data? = nil) async throws {
        let copy = scratch.file("copy")
        let result = try await Command.run("nbdcopy", [node.uri(), copy])
        #expect(result.status == 0, "\(result.errors)")
        #expect(try scratch.data("copy") == expected ?? scratch.data("disk.raw"))
        try FileManager.default.removeItem(atPath: copy)
    }

    private static func write(_ lines: String, _ name: String, _ scratch: Scratch) throws {
        let script = """
            #!/bin/sh
            PLACE=\(scratch.file("place"))
            SCRATCH=\(scratch.path)
            echo "$NEARBLOCK_ACTION $NEARBLOCK_EXPORT $NEARBLOCK_SIZE ${NEARBLOCK_PLACE-none} $NEARBLOCK_ARRIVAL" >>$SCRATCH/calls
            \(lines)

            """
        _ = try scratch.write(Array(script.utf8), to: name)
        chmod(scratch.file(name), 0o755)
    }

    private static func startDestination(_ scratch: Scratch, _ port: UInt16) async throws -> NodeProcess {
        try await NodeProcess(
            scratch.file("d"),
            [
                "--peer-listen", "127.0.0.1:\(port)", "--images", scratch.file("d/images"), "--prepare",
                scratch.file("prepare"), "--release", "\(scratch.file("release")) 'one word'",
            ])
    }

    private static func startSource(_ scratch: Scratch, _ port: UInt16) async throws -> NodeProcess {
        try await NodeProcess(
            scratch.file("s"),
            [
                scratch.file("disk.raw"), "--export", "disk", "--peer-listen", "127.0.0.1:\(port)", "--images",
                scratch.file("s/images"),
            ])
    }
}

extension [String] {
    /// The lines that begin with a word.
    func count(of word: String) -> Int { filter { $0.hasPrefix("\(word) ") }.count }
}
