import CLinux
import Glibc

/// The helper that reads a guest's partitions and file systems. It is this program again, started by `Helper`. Standard input is
/// the disk, and standard output takes a `RunStream`.
public enum FreeSpaceProgram {
    /// The argument that makes this program the helper that tells the free runs.
    public static let argument = "read-free-space"
    /// The argument that makes this program the helper that tells where partitions are, and the extents of LVM in them.
    public static let partitionsArgument = "read-partitions"
    /// The argument that makes this program the helper that tells of each part whether it may be trimmed, and its free runs.
    public static let volumesArgument = "read-volumes"
    /// Bytes of addresses: bitmaps of 16 TiB in blocks of 4 KiB take 512 MiB, and code some 100 MiB.
    private static let memory: UInt64 = 2 << 30
    /// Seconds of the processor.
    private static let seconds: UInt64 = 20
    /// The same for a trim, which somebody waits for.
    private static let secondsForVolumes: UInt64 = 120
    /// Bytes that go to the node at once.
    private static let outputBytes = 1 << 16

    /// Does the work of a helper if the program's arguments name one.
    /// - Parameter arguments: without the program's name.
    /// - Returns: the exit status; nil if this is no helper.
    public static func run(_ arguments: some Collection<String>) -> CInt? {
        switch Array(arguments) {
        case [argument]:
            answer { output in
                for system in FileSystem.find(on: STDIN_FILENO) { try output.write(free(of: system)) }
            }
        case [partitionsArgument]:
            answer { output in
                for part in PartitionTable(of: STDIN_FILENO).parts { try output.write(places(in: part)) }
            }
        case [volumesArgument]:
            answer(seconds: secondsForVolumes) { output in
                for volume in VolumeSurvey(of: STDIN_FILENO).volumes {
                    try output.write(VolumeStream.runs(of: volume))
                }
            }
        default: nil
        }
    }

    private static func answer(seconds: UInt64 = seconds, _ body: (inout Output) throws -> Void) -> CInt {
        guard linux_confine(memory, seconds) == 0 else { return 1 }
        var output = Output()
        do {
            try body(&output)
            try output.end()
        } catch {
            return 1
        }
        return 0
    }

    /// A part of the disk, and the extents of LVM if it has some.
    private static func places(in part: DiskBytes) -> [ByteRun] {
        let extents = PhysicalVolume.extents(in: part).map { part.start + $0 }
        return [ByteRun(start: part.start, length: part.size)]
            + (extents.map { [ByteRun(start: $0, length: part.start + part.size - $0)] } ?? [])
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
            try system.freeSpace(isExact: false).forEach(add)
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
