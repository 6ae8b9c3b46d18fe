import BlockModel
import CLinux
import Glibc

/// Asks the helper (`FreeSpaceProgram`) which blocks of a disk its file systems call free.
///
/// The answer is advice: a guest writes to its file systems meanwhile, and may lie about them.
public struct FreeSpaceReader: Sendable {
    /// The most runs of an answer. Their bytes are read and not kept.
    public static let mostRuns = 1 << 22

    /// The program that is the helper.
    private let program: String
    /// How long the helper may take, in milliseconds.
    private let limit: CInt

    /// - Parameters:
    ///   - program: a path of nearblock; this very program if it is nearblock.
    ///   - seconds: how long the helper may take.
    public init(program: String = "/proc/self/exe", seconds: Int = 10) {
        self.program = program
        limit = CInt(clamping: seconds * 1000)
    }

    /// Returns the blocks that are free as a whole; none if the helper fails, or takes too long. Waits for the helper.
    /// - Parameter descriptor: the open disk.
    public func free(on descriptor: CInt, _ geometry: BlockGeometry) -> BlockSet {
        let none = BlockSet(of: geometry.blockCount)
        // The helper must not be able to write.
        let disk = open("/proc/self/fd/\(descriptor)", O_RDONLY | O_CLOEXEC)
        guard disk >= 0 else { return none }
        defer { close(disk) }
        var ends: [CInt] = [-1, -1]
        guard linux_pipe(&ends) == 0 else { return none }
        defer { close(ends[0]) }
        guard let helper = start(disk: disk, output: ends[1]) else {
            close(ends[1])
            return none
        }
        close(ends[1])
        let free = try? receive(ends[0], geometry)
        // It may still be at work.
        kill(helper, SIGKILL)
        while waitpid(helper, nil, 0) < 0, errno == EINTR {}
        return free ?? none
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
        var arguments = ["nearblock", FreeSpaceProgram.argument].map { (word: String) in strdup(word) } + [nil]
        // libext2fs and libblkid go by variables of the environment: it has none.
        var environment: [UnsafeMutablePointer<CChar>?] = [nil]
        defer { for argument in arguments { Glibc.free(argument) } }
        var process = pid_t()
        return posix_spawn(&process, program, &actions, &attributes, &arguments, &environment) == 0 ? process : nil
    }

    private func receive(_ input: CInt, _ geometry: BlockGeometry) throws -> BlockSet {
        let deadline = ContinuousClock.now + .milliseconds(Int(limit))
        var free = BlockSet(of: geometry.blockCount)
        var parser = RunStream.Parser()
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            var wait = pollfd(fd: input, events: Int16(POLLIN), revents: 0)
            let left = ContinuousClock.now.duration(to: deadline).components
            let milliseconds = max(0, left.seconds * 1000 + left.attoseconds / 1_000_000_000_000_000)
            let ready = poll(&wait, 1, CInt(clamping: milliseconds))
            if ready < 0, errno == EINTR { continue }
            guard ready > 0 else { throw FreeSpaceError.unreadable }
            let count = read(input, &buffer, buffer.count)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { break }
            try parser.take(buffer[..<count]) { try add($0, to: &free, geometry) }
        }
        guard parser.isWhole else { throw FreeSpaceError.unreadable }
        return free
    }

    /// Adds the blocks that lie in a run as a whole; the last block of a disk may be short.
    private func add(_ run: ByteRun, to free: inout BlockSet, _ geometry: BlockGeometry) throws {
        guard let end = run.end, end <= geometry.size else { throw FreeSpaceError.malformed }
        let size = UInt64(geometry.blockSize)
        let first = (run.start + size - 1) / size
        let last = end == geometry.size ? geometry.blockCount : end / size
        if first < last { free.insert(first..<last) }
    }
}
