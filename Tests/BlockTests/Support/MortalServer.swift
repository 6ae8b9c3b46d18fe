import Foundation
import TestSupport
import Testing

/// An nbdkit server whose disk loses what was not flushed when the server ends, and which can be told to end at a command.
///
/// It handles one command at a time. Flush is its only way to durability: it has no FUA.
///
/// `@unchecked Sendable`: one test uses it, one call after the other.
final class MortalServer: @unchecked Sendable {
    let uri: String
    private let scratch = Scratch()
    private let size: Int
    private let canZero: Bool
    private var process: ChildProcess?

    /// Starts a server with a disk of zeros.
    init(size: Int, canZero: Bool = true) async throws {
        self.size = size
        self.canZero = canZero
        uri = "nbd+unix:///?socket=\(scratch.file("nbd"))"
        _ = try scratch.hole(size, "durable")
        _ = try scratch.write(Array(Self.step(scratch.path).utf8), to: "step")
        try await start()
    }

    /// Lets the server end in the place of the next command `step`: `write OFFSET`, `zero OFFSET` or `flush`.
    func endAt(_ step: String) throws { _ = try scratch.write(Array("\(step)\n".utf8), to: "last") }

    /// Lets the next command `step` fail with ESHUTDOWN, once, at a server that goes on.
    func failAt(_ step: String) throws { _ = try scratch.write(Array("\(step)\n".utf8), to: "failing") }

    var isRunning: Bool { process?.isRunning == true }

    /// Waits until the server has ended by itself, and starts it on what was flushed.
    func restart() async throws {
        try await waitUntil("the server has ended") { !isRunning }
        try await start()
    }

    /// All commands that have begun, in order.
    var commands: [String] {
        String(decoding: (try? scratch.contents("log")) ?? [], as: UTF8.self).split(separator: "\n").map(String.init)
    }

    /// Bytes of the disk that no end of the server can lose.
    func durable(_ range: Range<Int>) throws -> [UInt8] {
        let file = try FileHandle(forReadingFrom: URL(fileURLWithPath: scratch.file("durable")))
        try file.seek(toOffset: UInt64(range.lowerBound))
        return Array(try file.read(upToCount: range.count) ?? Data())
    }

    private func start() async throws {
        let (disk, step) = (scratch.file("disk"), "sh \(scratch.file("step"))")
        let copied = try await Command.run("cp", "--sparse=always", scratch.file("durable"), disk)
        #expect(copied.status == 0, "\(copied)")
        unlink(scratch.file("nbd"))
        let filters = canZero ? [] : ["--filter=nozero"]
        process = try ChildProcess(
            "/usr/bin/nbdkit",
            ["-f", "-U", scratch.file("nbd")] + filters + [
                "eval", "get_size=echo \(size)", "thread_model=echo serialize_all_requests", "can_write=exit 0",
                "can_flush=exit 0", "can_fua=echo none", "can_zero=exit 0", "can_trim=exit 3",
                "pread=dd if=\(disk) iflag=skip_bytes,count_bytes skip=$4 count=$3 status=none",
                """
                pwrite=\(step) "write $4" $PPID || exit 1
                dd of=\(disk) bs=64k iflag=fullblock oflag=seek_bytes conv=notrunc seek=$4 status=none
                """,
                "zero=\(step) \"zero $4\" $PPID || exit 1; fallocate -p -o $4 -l $3 \(disk)",
                "flush=\(step) flush $PPID || exit 1; cp --sparse=always \(disk) \(scratch.file("durable"))",
            ])
        try await waitUntil("nbdkit answers") { try await Command.run("nbdinfo", "--size", uri).status == 0 }
    }

    /// Notes a command, and fails it or ends the server if the test has asked for that.
    private static func step(_ folder: String) -> String {
        """
        cd \(folder)
        echo "$1" >> log
        if [ "$(cat failing 2> /dev/null)" = "$1" ]; then
            rm failing
            echo "ESHUTDOWN told once" >&2
            exit 1
        fi
        [ "$(cat last 2> /dev/null)" = "$1" ] || exit 0
        rm last
        kill -9 $2
        exit 1
        """
    }
}
