import CLinux
import Glibc

/// A program that a test has started, by path.
///
/// Foundation's `Process` copies directory entries beyond the end of its buffer while it looks for open descriptors, which
/// now and then ends a test run that has many of them.
///
/// `@unchecked Sendable`: `status` is written once, by whoever waits first; one test uses it, one call after the other.
package final class ChildProcess: @unchecked Sendable {
    /// The program could not be started.
    package struct Failure: Error, CustomStringConvertible {
        let path: String
        let code: CInt
        package var description: String { "cannot run \(path): \(String(cString: strerror(code)))" }
    }

    package let processIdentifier: pid_t
    private var status: CInt?

    /// Starts a program that inherits nothing but the three standard streams; none of its signals are blocked.
    /// - Parameters:
    ///   - environment: `NAME=VALUE` each; nil for this process's own.
    ///   - output: a file that standard output is added to.
    ///   - errors: the same for standard error.
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
        // The threads of a test run block signals, and a program would start with these blocked, too: nbdkit could not end
        // what it runs.
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

    /// Sends a signal, unless it has ended.
    package func signal(_ number: CInt) {
        if isRunning { kill(processIdentifier, number) }
    }

    /// Returns its exit status once it has ended; as a shell tells it, 128 and the number of a signal that killed it.
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
