import Foundation
import TestSupport
import Testing

/// A node of whose images some can't be opened.
@Suite("Exports that can't be opened", .timeLimit(.minutes(10)))
struct HeldBackTests {
    private let scratch = Scratch()

    private func configuration(_ names: String...) throws -> String {
        let text = names.map { "[export \($0)]\nimage = \(scratch.file("\($0).raw"))\n" }.joined()
        return try scratch.write(Array(text.utf8), to: "nodes.conf")
    }

    private func export(_ name: String, _ node: NodeProcess) async throws -> [String: Any]? {
        try await node.exports().first { $0["export"] as? String == name }
    }

    @Test("One image is missing and one no disk -> the others are served; they too once they can be opened")
    func appears() async throws {
        _ = try scratch.hole(1 << 20, "good.raw")
        try FileManager.default.createDirectory(atPath: scratch.file("folder.raw"), withIntermediateDirectories: false)
        let node = try await NodeProcess(
            scratch.file("node"), ["--config", try configuration("good", "late", "folder")])
        #expect(try await Command.run("nbdinfo", "--size", node.uri("good")).output == "1048576\n")
        for name in ["late", "folder"] {
            let export = try await export(name, node)
            #expect(export?["condition"] as? String == "held" && export?["problem"] is String, "\(export ?? [:])")
        }
        let text = try await node.ask(["status"]).output
        #expect(text.contains("held back") && text.contains("No such file"), "\(text)")

        // At first it is not readable as a disk.
        _ = try scratch.write([], to: "late.raw")
        _ = try scratch.hole(2 << 20, "new.raw")
        rename(scratch.file("new.raw"), scratch.file("late.raw"))
        try FileManager.default.removeItem(atPath: scratch.file("folder.raw"))
        _ = try scratch.hole(3 << 20, "folder.raw")
        for (name, size) in [("late", 2 << 20), ("folder", 3 << 20)] {
            try await waitUntil("\(name) is served") { try await export(name, node)?["state"] as? String == "serving" }
            #expect(try await Command.run("nbdinfo", "--size", node.uri(name)).output == "\(size)\n")
        }
        #expect(node.messages.contains("late is offered: its image can be opened now"), "\(node.messages)")
        #expect(try await node.stop() == 0)
    }

    @Test(
        "A server that is not there, and an image that another program has locked -> both are served once they can be")
    func unseenCauses() async throws {
        _ = try scratch.hole(1 << 20, "locked.raw")
        let socket = scratch.file("server")
        let text = """
            [export remote]
            image = nbd+unix:///?socket=\(socket)
            [export locked]
            image = \(scratch.file("locked.raw"))
            [export good]
            image = \(try scratch.hole(1 << 20, "good.raw"))
            """
        func serve(_ image: String, at socket: String) async throws -> ChildProcess {
            let server = try ChildProcess("/usr/bin/qemu-nbd", ["-f", "raw", "-k", socket, "-t", image])
            try await waitUntil("\(image) is served") { UnixAddress.isListening(at: socket) }
            return server
        }
        let holder = try await serve(scratch.file("locked.raw"), at: scratch.file("holder"))
        let node = try await NodeProcess(
            scratch.file("node"), ["--config", try scratch.write(Array(text.utf8), to: "nodes.conf")])
        for name in ["remote", "locked"] {
            #expect(try await export(name, node)?["condition"] as? String == "held", "\(name)")
        }
        holder.signal(SIGTERM)
        let server = try await serve(scratch.hole(3 << 20, "served.raw"), at: socket)
        defer { server.signal(SIGTERM) }
        for name in ["remote", "locked"] {
            try await waitUntil("\(name) is served") { try await export(name, node)?["state"] as? String == "serving" }
        }
        #expect(try await Command.run("nbdinfo", "--size", node.uri("remote")).output == "3145728\n")
        #expect(try await node.stop() == 0)
    }

    @Test("None of the images can be opened -> the node ends with an error")
    func none() async throws {
        let result = try await Nearblock.run([
            "serve", "--config", try configuration("a", "b"), "--socket", scratch.file("nbd"), "--state",
            scratch.file("state"), "--control", scratch.file("control"),
        ])
        #expect(result.status == 1 && result.errors.contains("No such file"), "\(result)")
    }

    @Test("systemd -> is told which exports are not offered, and when they are")
    func serviceManager() async throws {
        _ = try scratch.hole(1 << 20, "good.raw")
        let script = """
            import os, socket, subprocess, sys
            notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            notify.bind('\(scratch.file("notify"))')
            notify.settimeout(60)
            os.environ['NOTIFY_SOCKET'] = '\(scratch.file("notify"))'
            node = subprocess.Popen(sys.argv[1:])
            def wait(text):
                while True:
                    told = notify.recv(4096).decode()
                    if told == text: return print(told, flush=True)
            wait('READY=1')
            wait('STATUS=serving 1 export; not offered: late (see nearblock status)')
            with open('\(scratch.file("late.raw"))', 'wb') as file: file.truncate(1 << 20)
            wait('STATUS=serving 2 exports')
            node.terminate()
            sys.exit(node.wait())
            """
        let file = try scratch.write(Array(script.utf8), to: "manager.py")
        let result = try await Command.run(
            "python3", file, Nearblock.path, "serve", "--config", try configuration("good", "late"), "--socket",
            scratch.file("nbd"), "--state", scratch.file("state"), "--control", scratch.file("control"))
        #expect(result.status == 0, "\(result)")
    }

    @Test("Missing folders -> named at the start")
    func folders() async throws {
        let node = try await NodeProcess(
            scratch.file("node"),
            [
                "--peer-listen", "127.0.0.1:\(try FreePort.find())", "--images", scratch.file("images"), "--index",
                scratch.file("index"),
            ])
        #expect(node.messages.contains("there is no index at \(scratch.file("index"))"), "\(node.messages)")
        #expect(node.messages.contains("there was no directory \(scratch.file("images"))"), "\(node.messages)")
    }
}
