import Block
import CLinux
import Foundation
import Glibc
import NIOConcurrencyHelpers

/// A running `qemu-storage-daemon` or `qemu-img`: what it says, and how it ends.
///
/// The kernel ends it when the thread that has started it ends, so that it does not outlive a node that was killed
/// (setpriv(1), `--pdeathsig`). It has the rights and the environment of this process, and no way to more.
final class StorageDaemonProcess: Sendable {
    /// Characters of what it says that are kept.
    private static let mostSaid = 2000

    private struct State {
        /// nil once it has been waited for: the kernel may give its number to another process.
        var process: pid_t?
        var said = ""
    }

    /// Seconds for which a client of Ceph keeps another one out whose lock it takes: as long as a takeover does. By default
    /// librbd puts an hour in the place of what is there.
    private static let fenceOption = "--rbd_blocklist_expire_seconds=2592000"

    private let output: CInt
    private let state: NIOLockedValueBox<State>

    /// Starts it, on a thread that waits for its end (`wait`).
    /// - Parameter fences: whether clients of Ceph whose locks it takes must stay out for as long as after a takeover.
    /// - Throws: `FileError`.
    init(program: String = "qemu-storage-daemon", arguments: [String], fences: Bool = false) throws {
        var ends: [CInt] = [-1, -1]
        guard linux_pipe(&ends) == 0 else { throw FileError("make a pipe for", program) }
        defer { close(ends[1]) }
        do {
            state = NIOLockedValueBox(State(process: try Self.spawn([program] + arguments, fences, output: ends[1])))
        } catch {
            close(ends[0])
            throw error
        }
        output = ends[0]
    }

    deinit { close(output) }

    /// Sends a signal, unless the process has ended.
    func send(_ signal: CInt) {
        state.withLockedValue { state in
            if let process = state.process { kill(process, signal) }
        }
    }

    /// Waits for the end.
    /// - Returns: the status of `waitpid(2)`, and what it said last, in one line; if it said nothing, how it ended.
    func end() -> (status: CInt, said: String) {
        var buffer = [UInt8](repeating: 0, count: 4096)
        while true {
            let count = read(output, &buffer, buffer.count)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { break }
            let text = String(decoding: buffer[..<count], as: UTF8.self)
            state.withLockedValue { $0.said = String(($0.said + text).suffix(Self.mostSaid)) }
        }
        let process = state.withLockedValue { $0.process } ?? 0
        var info = siginfo_t()
        // Not reaped yet: until then nobody else has its number.
        while waitid(P_PID, id_t(process), &info, WEXITED | WNOWAIT) < 0, errno == EINTR {}
        var status: CInt = 0
        return state.withLockedValue { state in
            while waitpid(process, &status, 0) < 0, errno == EINTR {}
            state.process = nil
            let lines = state.said.split(whereSeparator: \.isNewline).filter { !$0.isEmpty }
            return (status, lines.isEmpty ? Self.end(status) : lines.suffix(3).joined(separator: "; "))
        }
    }

    /// The variables of a daemon; librados reads the options in `CEPH_ARGS` itself.
    static func environment(_ own: [String: String], fences: Bool) -> [String] {
        guard fences else { return own.map { "\($0)=\($1)" } }
        let options = own["CEPH_ARGS"].map { "\($0) \(fenceOption)" } ?? fenceOption
        return own.merging(["CEPH_ARGS": options]) { $1 }.map { "\($0)=\($1)" }
    }

    private static func end(_ status: CInt) -> String {
        let signal = status & 0x7f
        return signal == 0 ? "it ended with status \(status >> 8 & 0xff)" : "it was killed by signal \(signal)"
    }

    private static func spawn(_ program: [String], _ fences: Bool, output: CInt) throws -> pid_t {
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        // A group of its own: Ctrl-C is for the node, which then ends it.
        linux_spawn_reset_signals(&attributes, 1)
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO)
        posix_spawn_file_actions_adddup2(&actions, output, STDERR_FILENO)
        linux_spawn_close_from(&actions, 3)
        let command = ["setpriv", "--pdeathsig", "TERM", "--no-new-privs", "--"] + program
        var words: [UnsafeMutablePointer<CChar>?] = command.map { (word: String) in strdup(word) } + [nil]
        defer { for word in words { free(word) } }
        var process = pid_t()
        var settings = environment(ProcessInfo.processInfo.environment, fences: fences).map { strdup($0) } + [nil]
        defer { for setting in settings { free(setting) } }
        let code = posix_spawnp(&process, command[0], &actions, &attributes, &words, &settings)
        guard code == 0 else { throw FileError("run", command[0], code: code) }
        return process
    }
}
