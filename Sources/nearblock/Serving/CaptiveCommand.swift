import CLinux
import Foundation
import Glibc

/// A shell command that runs as long as the server is wanted, as nbdkit-captive(1) has it.
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
        // The command starts as if from a shell, with none of the signals ignored that this process takes.
        var signals = sigset_t()
        sigemptyset(&signals)
        posix_spawnattr_setsigmask(&attributes, &signals)
        for number in [SIGTERM, SIGINT, SIGHUP, SIGPIPE] { sigaddset(&signals, number) }
        posix_spawnattr_setsigdefault(&attributes, &signals)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGDEF) | Int16(POSIX_SPAWN_SETSIGMASK))
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        // It gets the standard streams only: a control socket that it kept would look like a node that lives.
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

    /// Asks the command to end.
    func terminate() {
        Glibc.kill(process, SIGTERM)
    }

    /// Ends the command where it does not do so itself.
    func kill() {
        Glibc.kill(process, SIGKILL)
    }

    /// Returns its exit status when it has ended; as a shell tells it, 128 and the number of a signal that killed it.
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
