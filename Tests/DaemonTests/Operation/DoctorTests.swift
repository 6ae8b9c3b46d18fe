import Foundation
import TestSupport
import Testing

/// `nearblock doctor`.
@Suite("nearblock doctor", .timeLimit(.minutes(5)))
struct DoctorTests {
    private let scratch = Scratch()

    private func doctor(_ options: [String]) async throws -> (status: Int32, lines: [String: [String]], raw: String) {
        let result = try await Nearblock.run(["doctor", "--control", scratch.file("control")] + options)
        var lines: [String: [String]] = [:]
        for line in result.output.split(separator: "\n") where !line.hasPrefix(" ") {
            let words = line.split(separator: " ", maxSplits: 1).map(String.init)
            lines[words[0], default: []].append(words.count > 1 ? words[1] : "")
        }
        return (result.status, lines, result.output + result.errors)
    }

    private func write(_ text: String) throws -> String { try scratch.write(Array(text.utf8), to: "n.conf") }

    @Test("A good machine and configuration -> no fault; the same as JSON")
    func good() async throws {
        let image = try scratch.hole(1 << 20, "disk.raw")
        let port = try FreePort.find()
        let path = try write(
            "[node]\nlisten = 127.0.0.1:\(port)\nstate = \(scratch.file("state"))\n[export disk]\nimage = \(image)\n")
        let result = try await doctor(["--config", path])
        #expect(result.status == 0 && result.lines["fault"] == nil, "\(result.raw)")
        for part in ["kernel", "io_uring", "descriptors", "memory", "tcp", "configuration", "state", "port"] {
            #expect(
                result.lines.values.joined().contains { $0.trimmingCharacters(in: .whitespaces).hasPrefix(part) },
                "\(part): \(result.raw)")
        }
        #expect(!FileManager.default.fileExists(atPath: scratch.file("state")))
        let json = try await Nearblock.run([
            "doctor", "--control", scratch.file("control"), "--config", path, "--json",
        ])
        let answer = try #require(try JSONSerialization.jsonObject(with: Data(json.output.utf8)) as? [String: Any])
        #expect(answer["faults"] as? Int == 0 && (answer["checks"] as? [[String: Any]])?.count ?? 0 > 8, "\(json)")
    }

    @Test("Mistakes of all kinds -> a fault for each, with what to do")
    func faults() async throws {
        let holder = try FreePort.find()
        let listener = try await NodeProcess(
            scratch.file("other"), [try scratch.hole(4096, "o.raw"), "--listen", "127.0.0.1:\(holder)"])
        _ = try scratch.write([], to: "file")
        let path = try write(
            """
            [node]
            listen = 127.0.0.1:\(holder)
            state = \(scratch.file("file"))
            peer-listen = 192.0.2.1:7000
            images = \(scratch.file("images"))
            peer-tls = \(scratch.file("none"))
            [export disk]
            image = \(scratch.file("none.raw"))
            """)
        let result = try await doctor(["--config", path])
        #expect(result.status == 1, "\(result.raw)")
        let faults = result.lines["fault"]?.joined(separator: "\n") ?? ""
        for part in [
            "127.0.0.1:\(holder) can't be listened on: Address already in use", "192.0.2.1:7000 can't be listened on",
            "\(scratch.file("file")) is not a directory", "n.conf:8: [export disk] image", "none is not a directory",
        ] { #expect(faults.contains(part), "\(part): \(result.raw)") }
        #expect(result.raw.contains("ss -ltnp 'sport = :\(holder)'"), "\(result.raw)")
        #expect(try await listener.stop() == 0)
    }

    @Test("The other node -> its release, round trip, rate and clock")
    func peer() async throws {
        let made = try await Nearblock.run([
            "certificates", "make", "--directory", scratch.file("c"), "--host", "localhost,127.0.0.1",
        ])
        #expect(made.status == 0, "\(made)")
        let directory = scratch.file("c/localhost")
        let port = try FreePort.find()
        let node = try await NodeProcess(
            scratch.file("d"),
            ["--peer-tls", directory, "--peer-listen", "127.0.0.1:\(port)", "--images", scratch.file("images")])
        let result = try await doctor(["--to", "127.0.0.1:\(port)", "--peer-tls", directory])
        let good = result.lines["ok"]?.joined(separator: "\n") ?? ""
        for part in [
            "127.0.0.1:\(port) answers over TLS 1.3", "0.1.0 there, 0.1.0 here", "at least ", " s there",
            "has no faults",
        ] { #expect(good.contains(part), "\(part): \(result.raw)") }
        // Nothing of a probe is left, and the node still takes disks.
        #expect(try FileManager.default.contentsOfDirectory(atPath: scratch.file("images")).isEmpty)
        #expect(try await node.exports().isEmpty)
        // Without certificates, and where nobody listens.
        let plain = try await doctor(["--to", "127.0.0.1:\(port)"])
        #expect(plain.status == 1 && plain.lines["fault"]?.joined().contains("TLS") == true, "\(plain.raw)")
        #expect(try await node.stop() == 0)
        let gone = try await doctor(["--to", "127.0.0.1:\(port)", "--peer-tls", directory])
        #expect(gone.status == 1 && gone.raw.contains("cannot reach the peer at"), "\(gone.raw)")
    }

    @Test("A node that runs here -> its ports are its own, and its held back exports are named")
    func running() async throws {
        let port = try FreePort.find()
        let image = try scratch.hole(1 << 20, "disk.raw")
        let path = try write(
            """
            [node]
            listen = 127.0.0.1:\(port)
            state = \(scratch.file("node/state"))
            control = \(scratch.file("node/control.sock"))
            [export disk]
            image = \(image)
            [export none]
            image = \(scratch.file("none.raw"))
            """)
        let node = try await NodeProcess(scratch.file("node"), ["--config", path], hasSocket: false)
        let result = try await Nearblock.run(["doctor", "--config", path, "--control", node.control])
        #expect(result.output.contains("127.0.0.1:\(port) is in use, and a node runs here"), "\(result)")
        #expect(result.output.contains("none: "), "\(result)")
        #expect(try await node.stop() == 0)
    }
}
