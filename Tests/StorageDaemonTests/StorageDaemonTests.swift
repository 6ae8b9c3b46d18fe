import Block
import Foundation
import NIOConcurrencyHelpers
import TestSupport
import Testing

@testable import StorageDaemon

/// `qemu-storage-daemon` on images that qemu-img has made.
@Suite("Storage daemon", .timeLimit(.minutes(10)))
struct StorageDaemonTests {
    private let scratch = Scratch()
    private let lines = NIOLockedValueBox<[String]>([])

    private func start(
        _ path: String, _ format: String, isReadOnly: Bool = false, admission: (any StorageAdmission)? = nil
    ) async throws -> StorageDaemon {
        let image = try ImageSpecification(path, format: format)
        return try await onThread { [scratch, lines] in
            try StorageDaemon.start(
                image, StorageDaemon.Options(isReadOnly: isReadOnly), in: scratch.path,
                admission: admission, isStillThere: { FileManager.default.fileExists(atPath: path) },
                report: { line in lines.withLockedValue { $0.append(line) } })
        }
    }

    private func make(_ format: String) async throws -> String {
        let path = scratch.file("disk.\(format)")
        let made = try await Command.run("qemu-img", "create", "-f", format, path, "8M")
        #expect(made.status == 0, "\(made)")
        return path
    }

    private func stop(_ daemon: StorageDaemon) async throws { try await onThread { daemon.stop() } }

    /// The processes that have the socket's path in their arguments.
    private func processes(of daemon: StorageDaemon) throws -> [pid_t] {
        Processes.with(argument: try #require(daemon.uri.components(separatedBy: "socket=").last))
    }

    @Test("A supported format -> written through the daemon, read by qemu-io", arguments: ImageSpecification.formats)
    func formats(format: String) async throws {
        let path = try await make(format)
        let daemon = try await start(path, format)
        let write = "h.pwrite(b'x' * 65536, 1 << 20); h.flush(); print(h.get_size(), h.can_multi_conn())"
        let written = try await Command.run("nbdsh", "-u", daemon.uri, "-c", write)
        #expect(written.output == "8388608 True\n", "\(written)")
        try await stop(daemon)
        #expect(try processes(of: daemon).isEmpty)
        let read = try await Command.run("qemu-io", "-r", "-f", format, "-c", "read -P 0x78 1M 64k", path)
        #expect(read.status == 0, "\(read)")
        #expect(lines.withLockedValue { $0 } == [])
    }

    @Test("Only this user can reach the socket")
    func permissions() async throws {
        let daemon = try await start(try await make("qcow2"), "qcow2")
        let socket = try #require(daemon.uri.components(separatedBy: "socket=").last)
        let manager = FileManager.default
        let folder = (socket as NSString).deletingLastPathComponent
        #expect(try manager.attributesOfItem(atPath: folder)[.posixPermissions] as? Int == 0o700)
        #expect(try manager.attributesOfItem(atPath: socket)[.posixPermissions] as? Int == 0o600)
        try await stop(daemon)
        #expect(!manager.fileExists(atPath: folder))
    }

    @Test("The daemon is killed -> started again with one line; asked to end, it ends")
    func killed() async throws {
        let daemon = try await start(try await make("qcow2"), "qcow2")
        let first = try #require(try processes(of: daemon).first)
        kill(first, SIGKILL)
        try await waitUntil("another daemon serves the disk") {
            let serves = try await Command.run("nbdinfo", "--size", daemon.uri).output == "8388608\n"
            return try serves && processes(of: daemon).first.map { $0 != first } == true
        }
        let told = lines.withLockedValue { $0 }
        #expect(told.count == 1 && told[0].contains("signal 9"), "\(told)")
        try await stop(daemon)
        #expect(try processes(of: daemon).isEmpty)
    }

    @Test("The daemon is killed before it serves the disk -> started again, and the disk is served")
    func killedAtOnce() async throws {
        let path = try await make("qcow2")
        let isKilled = NIOLockedValueBox(false)
        let hunter = Task { [scratch] in
            while !Task.isCancelled {
                // Its arguments have the folder from the first moment on.
                if let process = Processes.with(argument: "\(scratch.path)/storage-").first, kill(process, SIGKILL) == 0
                {
                    isKilled.withLockedValue { $0 = true }
                    return
                }
                await Task.yield()
            }
        }
        let daemon = try await start(path, "qcow2")
        hunter.cancel()
        await hunter.value
        #expect(isKilled.withLockedValue { $0 })
        try await waitUntil("it serves the disk") {
            try await Command.run("nbdinfo", "--size", daemon.uri).output == "8388608\n"
        }
        try await stop(daemon)
    }

    @Test("A daemon may not be used yet -> tried again; killed while it is looked at -> its path is never another's")
    func admitted() async throws {
        let gate = Gate(refuses: 2)
        let daemon = try await start(try await make("qcow2"), "qcow2", admission: gate)
        #expect(gate.asked == 3)
        // The next one is asked about, and ends meanwhile; only the one after it may get requests.
        let first = try #require(try processes(in: scratch.path).first)
        gate.hold(true)
        kill(first, SIGKILL)
        try await waitUntil("the next daemon is looked at") { gate.asked == 4 }
        let second = try #require(try processes(in: scratch.path).first)
        kill(second, SIGKILL)
        try await waitUntil("a third is looked at") { gate.asked == 5 }
        let third = try #require(try processes(in: scratch.path).first)
        let socket = try #require(daemon.uri.components(separatedBy: "socket=").last)
        gate.release(4)
        try await Task.sleep(for: .milliseconds(300))
        #expect(!FileManager.default.fileExists(atPath: socket))
        gate.hold(false)
        try await waitUntil("it serves the disk") {
            try await Command.run("nbdinfo", "--size", daemon.uri).output == "8388608\n"
        }
        #expect(try processes(in: scratch.path) == [third] && third != second)
        try await stop(daemon)
        #expect(gate.endings == [true])
    }

    @Test("An error that is final -> no further daemon; the end is not clean")
    func refusedForGood() async throws {
        let gate = Gate(refuses: .max, isFinal: true)
        let path = try await make("qcow2")
        await #expect(throws: StorageDaemonError.self) { try await start(path, "qcow2", admission: gate) }
        try await waitUntil("it has ended") { gate.endings == [false] }
        #expect(gate.asked == 1)
    }

    @Test("A daemon's variables -> Ceph's options of the user, and a fence as long as that of a takeover")
    func environment() {
        let option = "--rbd_blocklist_expire_seconds=2592000"
        #expect(StorageDaemonProcess.environment(["A": "b"], fences: true).sorted() == ["A=b", "CEPH_ARGS=\(option)"])
        #expect(
            StorageDaemonProcess.environment(["CEPH_ARGS": "--id x"], fences: true) == ["CEPH_ARGS=--id x \(option)"])
    }

    private func processes(in folder: String) throws -> [pid_t] { Processes.with(argument: "\(folder)/storage-") }

    /// Admits daemons when the test says so.
    private final class Gate: StorageAdmission {
        struct Refusal: Error {}

        struct State {
            let refusals: Int
            var asked = 0
            var isHeld = false
            var released: Set<Int> = []
            var endings: [Bool] = []
        }

        private let state: NIOLockedValueBox<State>
        private let isLast: Bool

        init(refuses refusals: Int, isFinal: Bool = false) {
            state = NIOLockedValueBox(State(refusals: refusals))
            isLast = isFinal
        }

        var asked: Int { state.withLockedValue { $0.asked } }
        var endings: [Bool] { state.withLockedValue { $0.endings } }
        func hold(_ isHeld: Bool) { state.withLockedValue { $0.isHeld = isHeld } }
        func release(_ number: Int) { state.withLockedValue { _ = $0.released.insert(number) } }

        func admit() throws {
            let (number, isRefused) = state.withLockedValue { state in
                state.asked += 1
                return (state.asked, state.asked <= state.refusals)
            }
            if isRefused { throw Refusal() }
            while state.withLockedValue({ $0.isHeld && !$0.released.contains(number) }) { usleep(1000) }
        }

        func isFinal(_ error: any Error) -> Bool { isLast }
        func ended(isClean: Bool) { state.withLockedValue { $0.endings.append(isClean) } }
    }

    @Test("Another file at the path -> the daemon is not started on it")
    func replaced() async throws {
        let path = try await make("qcow2")
        let daemon = try await start(path, "qcow2")
        let first = try #require(try processes(of: daemon).first)
        try FileManager.default.moveItem(atPath: path, toPath: scratch.file("away"))
        kill(first, SIGKILL)
        try await waitUntil("a line says so") {
            lines.withLockedValue { $0.last?.contains("another file now") ?? false }
        }
        #expect(try processes(of: daemon).isEmpty)
        try await stop(daemon)
    }

    @Test("An image that is no qcow2, that is in use, or that is missing -> one line that says so")
    func refused() async throws {
        let raw = try scratch.hole(1 << 20, "disk.raw")
        try await expectRefusal(raw, "not in qcow2 format")
        try await expectRefusal(scratch.file("none"), "No such file")
        let path = try await make("qcow2")
        let daemon = try await start(path, "qcow2")
        try await expectRefusal(path, "lock")
        try await stop(daemon)
    }

    private func expectRefusal(_ path: String, _ words: String) async throws {
        do {
            _ = try await start(path, "qcow2")
            Issue.record("\(path) is served")
        } catch {
            let text = "\(error)"
            #expect(text.contains(words) && text.contains(path) && !text.contains("\n"), "\(text)")
            #expect(!text.contains("node-name"), "\(text)")
        }
    }
}
