import CLinux
import Foundation
import Glibc

/// A program of the operator's, run once. It has a process group of its own, no descriptors of the node, a limited time and
/// bounded output. No shell is involved.
struct OperatorCommand: Sendable {
    /// The end of a program that has ended by itself.
    struct Outcome: Equatable, Sendable {
        /// The exit status as a shell says it: 128 and the signal's number if one ended it.
        let status: CInt
        let output: [UInt8]
        /// The last bytes of standard error, at most `mostErrors`.
        let errors: [UInt8]
    }

    enum Failure: Error, Equatable {
        case cannotStart(CInt)
        case tooSlow
        case tooMuchOutput
        case cancelled
    }

    /// Bytes of standard output; more end the program.
    static let mostOutput = TargetPlace.longestLine
    /// Bytes of standard error that are kept.
    static let mostErrors = 4096
    /// The time that a program has after SIGTERM.
    private static let grace = Duration.seconds(5)

    let words: [String]
    let environment: [String: String]
    let limit: Duration

    /// Runs the program to its end. Cancelling the task ends the program.
    /// - Throws: `Failure`; nothing of its process group runs any more then.
    func run() async throws -> Outcome {
        let stop = try CommandStop()
        return try await withTaskCancellationHandler {
            try await BlockingWork.run { try runBlocking(stop) }
        } onCancel: {
            stop.request()
        }
    }

    private func runBlocking(_ stop: CommandStop) throws -> Outcome {
        var (output, errors): ([CInt], [CInt]) = ([-1, -1], [-1, -1])
        guard linux_pipe(&output) == 0 else { throw Failure.cannotStart(errno) }
        defer { close(output[0]) }
        guard linux_pipe(&errors) == 0 else {
            close(output[1])
            throw Failure.cannotStart(errno)
        }
        defer { close(errors[0]) }
        let started = Result { try start(output: output[1], errors: errors[1]) }
        close(output[1])
        close(errors[1])
        let process = try started.get()
        let pidfd = linux_pidfd_open(process)
        defer { if pidfd >= 0 { close(pidfd) } }
        var streams = CommandStreams(output: output[0], errors: errors[0], process: pidfd, stop: stop.descriptor)
        do {
            guard pidfd >= 0 else { throw Failure.cannotStart(errno) }
            try streams.read(until: .now + limit)
        } catch {
            end(process, pidfd)
            throw error
        }
        return Outcome(status: Self.wait(for: process), output: streams.output.bytes, errors: streams.errors.bytes)
    }

    /// Ends the whole process group. Its leader is waited for last, since its number names the group.
    private func end(_ process: pid_t, _ pidfd: CInt) {
        kill(-process, SIGTERM)
        var wait = pollfd(fd: pidfd, events: Int16(POLLIN), revents: 0)
        while pidfd >= 0, poll(&wait, 1, CInt(Self.grace.components.seconds * 1000)) < 0, errno == EINTR {}
        kill(-process, SIGKILL)
        _ = Self.wait(for: process)
    }

    private static func wait(for process: pid_t) -> CInt {
        var status: CInt = 0
        while waitpid(process, &status, 0) < 0, errno == EINTR {}
        let signal = status & 0x7f
        return signal == 0 ? status >> 8 & 0xff : 128 + signal
    }

    private func start(output: CInt, errors: CInt) throws -> pid_t {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO)
        posix_spawn_file_actions_adddup2(&actions, errors, STDERR_FILENO)
        linux_spawn_close_from(&actions, 3)
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        linux_spawn_reset_signals(&attributes, 1)
        var arguments = Self.cStrings(words)
        var settings = Self.cStrings(environment.map { "\($0)=\($1)" })
        defer { for string in arguments + settings { free(string) } }
        var process = pid_t()
        let code = posix_spawn(&process, words[0], &actions, &attributes, &arguments, &settings)
        guard code == 0 else { throw Failure.cannotStart(code) }
        return process
    }

    private static func cStrings(_ strings: [String]) -> [UnsafeMutablePointer<CChar>?] {
        strings.map { (string: String) in strdup(string) } + [nil]
    }
}
