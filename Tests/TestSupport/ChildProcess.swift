import CLinux
import Glibc

/// A program that a test has started, by path.
///
/// Foundation's `Process` copies directory entries beyond the end of its buffer while it searches for open
/// descriptors. With many descriptors, that sometimes crashes a test run.
///
/// `@unchecked Sendable`: the first waiter writes `status` once; one test uses it, one call after the other.
package final class ChildProcess: @unchecked Sendable {
    /// A program that could not be started.
    package struct Failure: Error, CustomStringConvertible {
        let path: String
        let code: CInt
        package var description: String { "cannot run \(path): \(String(cString: strerror(code)))" }
    }

    package let processIdentifier: pid_t
    private var status: CInt?

    /// Starts a program that inherits only the three standard streams; none of its signals are blocked.
    /// - Parameters:
    ///   - environment: `NAME=VALUE` each; nil for this process's own.
    ///   - output: a file to which standard output is appended.
    ///   - errors: a file to which standard error is appended.
    /// - Throws: `Failure`.
    package init(
        _ path: String, _ arguments: [String], environment: [String]? = nil, output: String = "/dev/null",
        errors: String = "/dev/null"
    ) throws {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_addopen(&actions, 1, output, O_WRONLY | O_APPEND, 0)
        posix_spawn_file_actions_addopen(&actions, 2, errors, O_WRONLY | O_APPEND, 0)
        linux_spawn_close_from(&actions, 3)
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        // The threads of a test run block signals, and a program would inherit that: nbdkit could then not end its
        // children.
        var none = sigset_t()
        sigemptyset(&none)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK))
        var arguments = Self.cStrings([path] + arguments)
        var variables = environment.map(Self.cStrings) ?? []
        defer { for string in arguments + variables { free(string) } }
        var process = pid_t()
        let code =
            environment == nil
            ? posix_spawn(&process, path, &actions, &attributes, &arguments, environ)
            : posix_spawn(&process, path, &actions, &attributes, &arguments, &variables)
        guard code == 0 else { throw Failure(path: path, code: code) }
        processIdentifier = process
    }

    deinit {
        guard isRunning else { return }
        signal(SIGKILL)
        waitUntilExit()
    }

    package var isRunning: Bool {
        reap(WNOHANG)
        return status == nil
    }

    /// Sends a signal, unless the program has ended.
    package func signal(_ number: CInt) {
        if isRunning { kill(processIdentifier, number) }
    }

    /// Waits for the end and returns the exit status as a shell does: 128 and the signal's number if one killed it.
    /// Blocks the thread: see `onThread`.
    @discardableResult
    package func waitUntilExit() -> CInt {
        while status == nil { reap(0) }
        return status!
    }

    private func reap(_ options: CInt) {
        guard status == nil else { return }
        var raw: CInt = 0
        let ended = waitpid(processIdentifier, &raw, options)
        precondition(ended >= 0 || errno == EINTR, "somebody else has waited for this program")
        guard ended == processIdentifier else { return }
        let number = raw & 0x7f
        status = number == 0 ? raw >> 8 & 0xff : 128 + number
    }

    private static func cStrings(_ strings: [String]) -> [UnsafeMutablePointer<CChar>?] {
        strings.map { (string: String) in strdup(string) } + [nil]
    }
}
