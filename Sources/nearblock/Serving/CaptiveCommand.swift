import CLinux
import Foundation
import Glibc

/// A shell command that determines how long the server runs, as in nbdkit-captive(1).
struct CaptiveCommand: Sendable {
    private let process: pid_t

    /// Starts `/bin/sh -c command`.
    /// - Parameter variables: added to its environment.
    /// - Throws: `CommandFailure`.
    init(_ command: String, variables: [String: String]) throws {
        let environment = ProcessInfo.processInfo.environment.merging(variables) { $1 }
        var arguments = Self.cStrings(["/bin/sh", "-c", command])
        var settings = Self.cStrings(environment.map { "\($0)=\($1)" })
        defer { for string in arguments + settings { free(string) } }
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        linux_spawn_reset_signals(&attributes, 0)
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        // Close all other descriptors: a control socket kept open would look like a running node.
        linux_spawn_close_from(&actions, 3)
        var process = pid_t()
        let code = posix_spawn(&process, "/bin/sh", &actions, &attributes, &arguments, &settings)
        guard code == 0 else { throw CommandFailure(reason: "cannot run /bin/sh: \(String(cString: strerror(code)))") }
        self.process = process
    }

    private static func cStrings(_ strings: [String]) -> [UnsafeMutablePointer<CChar>?] {
        var copies: [UnsafeMutablePointer<CChar>?] = strings.map { (string: String) in strdup(string) }
        copies.append(nil)
        return copies
    }

    /// Sends SIGTERM to the command.
    func terminate() {
        Glibc.kill(process, SIGTERM)
    }

    /// Sends SIGKILL to the command.
    func kill() {
        Glibc.kill(process, SIGKILL)
    }

    /// Waits for the end; returns the exit status, or 128 plus the number of the signal that ended the command.
    func wait() async -> CInt {
        await withCheckedContinuation { continuation in
            Thread.detachNewThread { [process] in
                var status: CInt = 0
                while waitpid(process, &status, 0) < 0 && errno == EINTR {}
                let signal = status & 0x7f
                continuation.resume(returning: signal == 0 ? status >> 8 & 0xff : 128 + signal)
            }
        }
    }
}
