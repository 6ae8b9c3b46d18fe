import Foundation
import Testing

/// A `nearblock serve` of its own process.
final class NodeProcess: @unchecked Sendable {
    private let process = Process()
    private let log: String
    let folder: String

    /// Starts it in `folder`, with sockets and state there, and waits until it says that it is ready.
    init(_ folder: String, _ arguments: [String]) throws {
        self.folder = folder
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        log = "\(folder)/log-\(UUID().uuidString.prefix(4))"
        try Data().write(to: URL(fileURLWithPath: log))
        process.executableURL = URL(fileURLWithPath: Command.nearblock)
        process.arguments =
            ["serve", "--socket", "\(folder)/nbd.sock", "--control", control, "--state", "\(folder)/state"]
            + arguments
        process.standardError = try FileHandle(forWritingTo: URL(fileURLWithPath: log))
        try process.run()
        let limit = Date(timeIntervalSinceNow: 20)
        while !messages.contains("ready") {
            guard process.isRunning, Date() < limit else {
                process.terminate()
                throw Failure(reason: "the node did not get ready: \(messages)")
            }
            usleep(5000)
        }
    }

    struct Failure: Error {
        let reason: String
    }

    deinit { kill() }

    var control: String { "\(folder)/control.sock" }

    func uri(_ export: String = "disk") -> String { "nbd+unix:///\(export)?socket=\(folder)/nbd.sock" }

    /// What it has said on standard error.
    var messages: String { (try? String(contentsOfFile: log, encoding: .utf8)) ?? "" }

    var isRunning: Bool { process.isRunning }

    /// SIGTERM; returns its exit status.
    func stop() -> Int32 {
        process.terminate()
        process.waitUntilExit()
        return process.terminationStatus
    }

    /// SIGKILL.
    func kill() {
        guard process.isRunning else { return }
        Foundation.kill(process.processIdentifier, SIGKILL)
        process.waitUntilExit()
    }

    /// `nearblock COMMAND … --control …` of this node.
    func ask(_ arguments: [String], timeout: Double = 60) throws -> Command.Result {
        try Command.nearblock(arguments + ["--control", control], timeout: timeout)
    }
}
