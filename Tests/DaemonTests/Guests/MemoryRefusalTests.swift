import Foundation
import TestSupport
import Testing

/// The words for a guest's memory that does not get to its destination, at the side that they are about.
@Suite("Refusals of guests' memory", .timeLimit(.minutes(5)))
struct MemoryRefusalTests {
    private let scratch = Scratch()

    @Test("A folder of hypervisors that is none, or that others may write to -> this node's own fault")
    func folder() async throws {
        for (folder, said) in [("none", "is no folder"), ("open", "others may write to")] {
            let path = scratch.file(folder)
            if folder == "open" {
                mkdir(path, 0o777)
                chmod(path, 0o777)
            }
            let result = try await Nearblock.run([
                "serve", "--peer-listen", "127.0.0.1:\(try FreePort.find())", "--images", scratch.file("images"),
                "--memory-dir", path, "--socket", scratch.file("s"), "--state", scratch.file("state"), "--control",
                scratch.file("control"),
            ])
            #expect(result.status == 1 && result.errors.contains(said), "\(result)")
            #expect(result.errors.contains("--memory-dir") && !result.errors.contains("other node"), "\(result)")
        }
    }

    @Test("No hypervisor at the destination -> its node's reason at the source, and no other node's in its own log")
    func hypervisor() async throws {
        let port = try FreePort.find()
        mkdir(scratch.file("memory"), 0o755)
        let there = try await NodeProcess(
            scratch.file("d"),
            [
                "--peer-listen", "127.0.0.1:\(port)", "--images", scratch.file("images"), "--memory-dir",
                scratch.file("memory"),
            ])
        let here = try await NodeProcess(
            scratch.file("s"), [try scratch.hole(1 << 20, "disk.raw"), "--export", "disk"])
        let script = """
            import socket, time
            connection = socket.socket(socket.AF_UNIX)
            for _ in range(2000):
                try: connection.connect('\(scratch.file("vm.sock"))')
                except OSError: time.sleep(0.01)
                else: break
            connection.sendall(b'QEVM' + bytes(1 << 20))
            while connection.recv(4096): pass
            """
        let guest = Task { try await Command.run("python3", "-c", script) }
        let moved = try await here.ask([
            "memory", "disk", "--to", "127.0.0.1:\(port)", "--memory", scratch.file("vm.sock"), "--memory-name", "vm",
        ])
        let reason = "no hypervisor waits there for the memory of 'vm'"
        #expect(moved.status == 1 && moved.errors.contains("the destination gave up: \(reason)"), "\(moved)")
        try await there.wait(for: "the memory of vm did not arrive: \(reason)")
        #expect(!there.messages.contains("other node"), "\(there.messages)")
        _ = try await guest.value
    }
}
