import Foundation
import TestSupport

/// An nbd-server and an nbdkit on one file, each with a Unix socket, as references.
final class ReferenceServers {
    private let servers: [ChildProcess]
    private let pidFile: String
    let uris: [String]

    /// - Parameter folder: Existing directory for their sockets and files.
    init(_ image: String, in folder: String) async throws {
        pidFile = "\(folder)/nbd-server.pid"
        let configuration = "\(folder)/nbd-server.conf"
        let text = "[generic]\nunixsock = \(folder)/nbd-server.sock\n[disk]\nexportname = \(image)\n"
        try Data(text.utf8).write(to: URL(fileURLWithPath: configuration))
        servers = [
            try ChildProcess("/usr/bin/nbdkit", ["-f", "-U", "\(folder)/nbdkit.sock", "file", image]),
            try ChildProcess("/usr/bin/nbd-server", ["-C", configuration, "-p", pidFile]),
        ]
        uris = ["nbd-server", "nbdkit"].map { "nbd+unix:///disk?socket=\(folder)/\($0).sock" }
        for uri in uris {
            try await waitUntil("\(uri) answers") { try await Command.run("nbdinfo", "--size", uri).status == 0 }
        }
    }

    /// nbd-server has detached from the process that was started.
    deinit {
        guard let text = try? String(contentsOfFile: pidFile, encoding: .utf8),
            let process = pid_t(text.trimmingCharacters(in: .whitespacesAndNewlines))
        else { return }
        kill(process, SIGTERM)
    }
}
