import CLinux
import Glibc

/// This program again, as a process that reads what a guest has written to a disk. That may bring a library down, or worse. It
/// answers with a `RunStream`.
public struct Helper: Sendable {
    /// The path of this very program.
    public static let thisProgram = "/proc/self/exe"

    /// Milliseconds between two looks at whether the answer is still wanted.
    private static let look: CInt = 200

    /// The program that is the helper.
    private let program: String
    private let argument: String
    /// How long the helper may take, in milliseconds.
    private let limit: CInt

    /// - Parameters:
    ///   - argument: makes the program this helper.
    ///   - seconds: how long the helper may take.
    init(program: String, argument: String, seconds: Int) {
        self.program = program
        self.argument = argument
        limit = CInt(clamping: seconds * 1000)
    }

    /// Runs the helper and waits for its end.
    /// - Parameters:
    ///   - descriptor: the open disk.
    ///   - isWanted: asked several times a second; once false, the helper is ended.
    ///   - found: receives each run of the answer, whose end may still be missing.
    /// - Throws: `FreeSpaceError` if the answer is not whole, or takes too long; the error of `found`; `CancellationError`.
    func run(
        on descriptor: CInt, while isWanted: () -> Bool = { true }, _ found: (ByteRun) throws -> Void
    ) throws {
        // The helper must not be able to write.
        let disk = open("/proc/self/fd/\(descriptor)", O_RDONLY | O_CLOEXEC)
        guard disk >= 0 else { throw FreeSpaceError.system(errno) }
        defer { close(disk) }
        var ends: [CInt] = [-1, -1]
        guard linux_pipe(&ends) == 0 else { throw FreeSpaceError.system(errno) }
        defer { close(ends[0]) }
        guard let helper = start(disk: disk, output: ends[1]) else {
            close(ends[1])
            throw FreeSpaceError.unreadable
        }
        close(ends[1])
        defer {
            // It may still be at work.
            kill(helper, SIGKILL)
            while waitpid(helper, nil, 0) < 0, errno == EINTR {}
        }
        try receive(ends[0], isWanted, found)
    }

    private func start(disk: CInt, output: CInt) -> pid_t? {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_adddup2(&actions, disk, STDIN_FILENO)
        posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO)
        posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0)
        linux_spawn_close_from(&actions, 3)
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var none = sigset_t()
        sigemptyset(&none)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK))
        var arguments = ["nearblock", argument].map { (word: String) in strdup(word) } + [nil]
        // libext2fs and libblkid go by variables of the environment: it has none.
        var environment: [UnsafeMutablePointer<CChar>?] = [nil]
        defer { for argument in arguments { Glibc.free(argument) } }
        var process = pid_t()
        return posix_spawn(&process, program, &actions, &attributes, &arguments, &environment) == 0 ? process : nil
    }

    private func receive(_ input: CInt, _ isWanted: () -> Bool, _ found: (ByteRun) throws -> Void) throws {
        let deadline = ContinuousClock.now + .milliseconds(Int(limit))
        var parser = RunStream.Parser()
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            var wait = pollfd(fd: input, events: Int16(POLLIN), revents: 0)
            let left = ContinuousClock.now.duration(to: deadline).components
            let milliseconds = max(0, left.seconds * 1000 + left.attoseconds / 1_000_000_000_000_000)
            let ready = poll(&wait, 1, min(Self.look, CInt(clamping: milliseconds)))
            guard isWanted() else { throw CancellationError() }
            if ready < 0, errno == EINTR { continue }
            if ready == 0, milliseconds > 0 { continue }
            guard ready > 0 else { throw FreeSpaceError.unreadable }
            let count = read(input, &buffer, buffer.count)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { break }
            try parser.take(buffer[..<count], found)
        }
        guard parser.isWhole else { throw FreeSpaceError.unreadable }
    }
}
