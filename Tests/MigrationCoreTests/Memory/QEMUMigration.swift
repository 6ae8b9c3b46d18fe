import Foundation
import TestSupport
import Testing

/// The migration of a small guest that does not run, by the QEMU that is installed, to nobody.
struct QEMUMigration: Sendable {
    /// The choices of one migration.
    struct Setting: Sendable, CustomTestStringConvertible {
        let name: String
        var capabilities: [String] = []
        var parameters: [String: Int] = [:]
        /// Names of values, as of multifd-compression.
        var choices: [String: String] = [:]
        var arguments: [String] = []
        /// Whether the stream goes to a socket, and not through a program into a file.
        var usesSocket = true
        /// Whether post-copy begins as soon as possible.
        var startsPostcopy = false

        var testDescription: String { name }
    }

    static let memoryBytes = 16 << 20

    /// The program: `NEARBLOCK_QEMU`, or the one that is installed.
    static let program = ProcessInfo.processInfo.environment["NEARBLOCK_QEMU"] ?? "/usr/bin/qemu-system-x86_64"
    static var isPossible: Bool { access(program, X_OK) == 0 }

    /// The bytes of each connection.
    let streams: [[UInt8]]
    /// The pages that QEMU has sent with their content.
    let pages: Int
    /// The pages that QEMU has sent as zero.
    let zeroPages: Int

    /// Migrates a guest with 6 MiB of random bytes in its memory.
    /// - Returns: nil if this QEMU lacks a capability.
    static func run(_ setting: Setting, _ random: inout Seeded) async throws -> QEMUMigration? {
        let scratch = Scratch()
        let content = try scratch.write(random.bytes(6 << 20), to: "content")
        let sink = try StreamSink(path: scratch.file("migration"))
        async let streams = onThread { sink.collect(answers: setting.hasReturnPath) }
        let statistics: Statistics?
        do {
            statistics = try await onThread { try migrate(setting, content, scratch) }
        } catch {
            sink.close()
            throw error
        }
        sink.close()
        let received = try await streams
        guard let statistics else { return nil }
        let all = setting.usesSocket ? received : [try scratch.contents("file")]
        return QEMUMigration(streams: all, pages: statistics.pages, zeroPages: statistics.zeroPages)
    }

    private struct Statistics: Sendable {
        let pages: Int
        let zeroPages: Int
    }

    /// Runs QEMU until the migration is complete.
    private static func migrate(_ setting: Setting, _ content: String, _ scratch: Scratch) throws -> Statistics? {
        let monitorPath = scratch.file("monitor")
        let errors = try scratch.write([], to: "errors")
        let process = try ChildProcess(
            program,
            [
                "-M", "pc", "-accel", "tcg", "-S", "-nodefaults", "-display", "none", "-vga", "none", "-qmp",
                "unix:\(monitorPath),server=on,wait=off", "-device",
                "loader,file=\(content),addr=0x100000,force-raw=on",
            ] + setting.memory(scratch), errors: errors)
        let monitor = try QEMUMonitor(path: monitorPath) {
            guard !process.isRunning else { return nil }
            return (try? scratch.contents("errors")).map { String(decoding: $0, as: UTF8.self) } ?? ""
        }
        defer { monitor.close() }
        guard try setting.isPossible(monitor) else { return nil }
        try setting.apply(monitor)
        let target = setting.usesSocket ? "unix:\(scratch.file("migration"))" : "exec:cat > \(scratch.file("file"))"
        try monitor.execute("migrate", ["uri": target])
        if setting.startsPostcopy { try monitor.execute("migrate-start-postcopy") }
        return try finish(monitor)
    }

    private static func finish(_ monitor: QEMUMonitor) throws -> Statistics {
        let limit = Date(timeIntervalSinceNow: 60)
        while true {
            let answer = try monitor.execute("query-migrate") as? [String: Any] ?? [:]
            guard Date() < limit else { throw QEMUMonitor.Failure(command: "waited in vain", answer: "\(answer)") }
            switch answer["status"] as? String {
            case "completed":
                let ram = answer["ram"] as? [String: Any] ?? [:]
                return Statistics(pages: ram["normal"] as? Int ?? 0, zeroPages: ram["duplicate"] as? Int ?? 0)
            case "failed", "cancelled", "postcopy-paused":
                throw QEMUMonitor.Failure(command: "migrate", answer: "\(answer)")
            default: usleep(20_000)
            }
        }
    }
}

extension QEMUMigration.Setting {
    var hasReturnPath: Bool { capabilities.contains("return-path") || capabilities.contains("postcopy-ram") }

    fileprivate var ignoresShared: Bool { capabilities.contains("x-ignore-shared") }

    /// Whether QEMU sends all memory, and none of it compressed.
    var sendsAllPages: Bool { !ignoresShared && !capabilities.contains("compress") }

    var hasMultifd: Bool { capabilities.contains("multifd") }

    /// 16 MiB of memory, in a file if shared memory is ignored.
    fileprivate func memory(_ scratch: Scratch) -> [String] {
        guard ignoresShared else { return ["-m", "16"] + arguments }
        let backend = "memory-backend-file,id=m0,size=16M,share=on,mem-path=\(scratch.file("memory"))"
        return ["-m", "16,slots=1,maxmem=1G", "-object", backend, "-machine", "memory-backend=m0"] + arguments
    }

    fileprivate func isPossible(_ monitor: QEMUMonitor) throws -> Bool {
        let known = try monitor.execute("query-migrate-capabilities") as? [[String: Any]] ?? []
        return Set(capabilities).isSubset(of: known.compactMap { $0["capability"] as? String })
    }

    fileprivate func apply(_ monitor: QEMUMonitor) throws {
        let states = capabilities.map { ["capability": $0, "state": true] as [String: Any] }
        try monitor.execute("migrate-set-capabilities", ["capabilities": states])
        let all = parameters.mapValues { $0 as Any }.merging(choices) { $1 }
        try monitor.execute("migrate-set-parameters", all)
    }
}
