import CLinux
import Glibc

/// The helper that reads a guest's file systems. It is this program again, started by `FreeSpaceReader`, since what a guest has
/// written may bring a library down, or worse. Standard input is the disk, and standard output takes a `RunStream`.
public enum FreeSpaceProgram {
    /// The argument that makes this program the helper.
    public static let argument = "read-free-space"
    /// Bytes of addresses: bitmaps of 16 TiB in blocks of 4 KiB take 512 MiB, and code some 100 MiB.
    private static let memory: UInt64 = 2 << 30
    /// Seconds of the processor.
    private static let seconds: UInt64 = 20
    /// Bytes that go to the node at once.
    private static let outputBytes = 1 << 16

    /// Writes the free runs of all file systems that it finds, and returns the exit status.
    public static func run() -> CInt {
        guard linux_confine(memory, seconds) == 0 else { return 1 }
        var output = Output()
        do {
            for system in FileSystem.find(on: STDIN_FILENO) { try output.write(free(of: system)) }
            try output.end()
        } catch {
            return 1
        }
        return 0
    }

    /// All free runs of a file system in bytes of the disk; none of one that contradicts itself, or has no end.
    private static func free(of system: FileSystem) throws -> [ByteRun] {
        var runs: [ByteRun] = []
        let bytes = system.bytes
        func add(_ run: ByteRun) throws {
            guard runs.count < FreeSpaceReader.mostRuns, let end = run.end, end <= bytes.size else {
                throw FreeSpaceError.malformed
            }
            runs.append(ByteRun(start: bytes.start + run.start, length: run.length))
        }
        do {
            switch system.kind {
            case .ext2, .ext3, .ext4: try ExtFreeSpace(bytes: bytes).forEach(add)
            case .xfs: try XFSFreeSpace(bytes).forEach(add)
            }
        } catch is FreeSpaceError {
            return []
        }
        return runs
    }

    private struct Output {
        private var waiting: [UInt8] = []
        private var count: UInt64 = 0

        mutating func write(_ runs: [ByteRun]) throws {
            for run in runs {
                waiting += RunStream.bytes(of: run)
                count += 1
                if waiting.count >= outputBytes { try flush() }
            }
        }

        mutating func end() throws {
            waiting += RunStream.bytes(0, count)
            try flush()
        }

        private mutating func flush() throws {
            var done = 0
            while done < waiting.count {
                let written = waiting.withUnsafeBytes {
                    Glibc.write(STDOUT_FILENO, $0.baseAddress! + done, waiting.count - done)
                }
                guard written > 0 else { throw FreeSpaceError.system(errno) }
                done += written
            }
            waiting = []
        }
    }
}
