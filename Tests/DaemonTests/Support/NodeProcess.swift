import Foundation
import TestSupport

/// A `nearblock serve` process.
///
/// `@unchecked Sendable`: one test uses it, one call after another.
final class NodeProcess: @unchecked Sendable {
    private let process: ChildProcess
    private let log: String
    let folder: String

    /// Starts the process with sockets and state in `folder`, and waits until it is ready.
    /// - Parameter hasSocket: Whether it listens on `nbd.sock` in `folder`.
    init(
        _ folder: String, _ arguments: [String], hasSocket: Bool = true, environment: [String]? = nil
    ) async throws {
        self.folder = folder
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        log = "\(folder)/log-\(UUID().uuidString.prefix(4))"
        try Data().write(to: URL(fileURLWithPath: log))
        process = try ChildProcess(
            Nearblock.path,
            ["serve", "--control", "\(folder)/control.sock", "--state", "\(folder)/state"]
                + (hasSocket ? ["--socket", "\(folder)/nbd.sock"] : []) + arguments,
            environment: environment, errors: log)
        let limit = Date(timeIntervalSinceNow: 30)
        while !messages.contains("ready: ") {
            guard process.isRunning, Date() < limit else {
                process.signal(SIGTERM)
                throw Failure(reason: "the node did not get ready: \(messages)")
            }
            try await Task.sleep(for: .milliseconds(5))
        }
    }

    struct Failure: Error {
        let reason: String
    }

    var processIdentifier: Int32 { process.processIdentifier }

    var control: String { "\(folder)/control.sock" }

    func uri(_ export: String = "disk") -> String { "nbd+unix:///\(export)?socket=\(folder)/nbd.sock" }

    /// The process's output on standard error.
    var messages: String { (try? String(contentsOfFile: log, encoding: .utf8)) ?? "" }

    func signal(_ number: Int32) { process.signal(number) }

    /// Waits until the output contains a text.
    func wait(for words: String) async throws {
        let limit = Date(timeIntervalSinceNow: 20)
        while !messages.contains(words) {
            guard Date() < limit else { throw Failure(reason: "no '\(words)' in: \(messages)") }
            try await Task.sleep(for: .milliseconds(5))
        }
    }

    /// Sends SIGTERM; returns the exit status.
    func stop() async throws -> Int32 { try await end(SIGTERM) }

    /// Sends SIGKILL.
    func kill() async throws { _ = try await end(SIGKILL) }

    /// Runs a command for this node, with its control socket.
    func ask(_ arguments: [String]) async throws -> Command.Result {
        try await Nearblock.run(arguments + ["--control", control])
    }

    /// Returns the entries of `nearblock status --json`.
    func exports() async throws -> [[String: Any]] { try await status("exports") }

    /// Returns the disks that are being copied to the node and that clients can't have yet.
    func arriving() async throws -> [[String: Any]] { try await status("arriving") }

    private func status(_ key: String) async throws -> [[String: Any]] {
        let status = try await ask(["status", "--json"])
        let answer = try JSONSerialization.jsonObject(with: Data(status.output.utf8)) as? [String: Any]
        return answer?[key] as? [[String: Any]] ?? []
    }

    private func end(_ signal: Int32) async throws -> Int32 {
        process.signal(signal)
        return try await onThread { [process] in process.waitUntilExit() }
    }
}
