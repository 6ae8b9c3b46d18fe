import Foundation
import TestSupport
import Testing

/// Faulty servers as backings: they affect only clients of their own exports.
@Suite("Faulty backings", .timeLimit(.minutes(10)))
struct FaultyBackingTests {
    private let scratch = Scratch()

    private func common(_ name: String) -> [String] {
        ["--state", scratch.file("state-\(name)"), "--control", scratch.file("control-\(name)")]
    }

    /// Serves one NBD client. The test supplies type and payload of the replies to one command, in Python; other
    /// replies are correct; None ends the connection. With `certificates` it accepts TLS.
    private func server(answers: String, certificates: String) -> String {
        """
        import os, socket, ssl, struct, threading
        certificates = "\(certificates)"
        if certificates:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificates + "/server-cert.pem", certificates + "/server-key.pem")
        listener = socket.socket(socket.AF_UNIX)
        listener.bind("\(scratch.file("faulty.new"))")
        listener.listen()
        # A socket refuses connections between its two calls, and the command waits for the name.
        os.rename("\(scratch.file("faulty.new"))", "\(scratch.file("faulty.sock"))")
        def serve(client):
            def take(count):
                data = b""
                while len(data) < count:
                    more = client.recv(count - len(data))
                    if not more: return b""
                    data += more
                return data
            def reply(option, kind, payload=b""):
                client.sendall(struct.pack(">QIII", 0x3e889045565a9, option, kind, len(payload)) + payload)
            client.sendall(b"NBDMAGICIHAVEOPT" + struct.pack(">H", 3))
            take(4)
            option = 0
            while option != 7:
                header = take(16)
                if len(header) < 16: return
                option, length = struct.unpack(">8xII", header)
                take(length)
                if option == 5 and certificates:
                    reply(option, 1)
                    client = context.wrap_socket(client, server_side=True)
                    continue
                if option == 10: reply(option, 4, struct.pack(">I", 5) + b"base:allocation")
                if option == 7: reply(option, 3, struct.pack(">HQH", 0, 1 << 20, 5))
                reply(option, 1 if option in (7, 8, 10) else 0x80000001)
            while True:
                request = take(28)
                if len(request) < 28: return
                _, kind, cookie, offset, length = struct.unpack(">IxxHQQI", request)
                if kind == 2: return
                answers = {0: (1, struct.pack(">Q", offset) + bytes(length))}
                answers.update(\(answers))
                answer = answers.get(kind, (0, b""))
                if answer is None: return client.close()
                chunk, payload = answer
                client.sendall(struct.pack(">IHHQI", 0x668e33ef, 1, chunk, cookie, len(payload)) + payload)
        while True: threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
        """
    }

    @Test(
        "A useless block status -> treated as data",
        arguments: [
            (0, "b''"), (5, "struct.pack('>III', 5, 0, 0)"), (5, "struct.pack('>IIIII', 5, 0, 3, 4096, 0)"),
            (5, "struct.pack('>III', 99, 4096, 3)"),
        ])
    func status(_ chunk: Int, _ payload: String) async throws {
        let result = try await run(
            answers: "{7: (\(chunk), \(payload))}", "nbdinfo --map --totals \"$uri\"; nbdinfo --size \"$uri\"")
        #expect(result.status == 0, "\(result)")
        #expect(result.output.contains("1048576 100.0%   0 data"), "\(result)")
        #expect(result.output.hasSuffix("\n1048576\n"), "\(result)")
    }

    @Test(
        "A short read -> an error, also with TLS",
        arguments: [
            "0, b''", "1, struct.pack('>Q', offset) + bytes(length // 2)", "2, struct.pack('>QI', offset, length - 1)",
        ], [false, true])
    func read(_ answer: String, isSecure: Bool) async throws {
        let script = "try:\n h.pread(4096, 0)\nexcept nbd.Error as e: print(e.errnum)\nprint(h.get_size())"
        let certificates = isSecure ? try await Certificates(authorities: ["ca"]) : nil
        let result = try await run(
            answers: "{0: (\(answer))}", "nbdsh -u \"$uri\" -c \"\(script)\"",
            certificates: try await certificates?.directory())
        #expect(result.output == "5\n1048576\n", "\(result)")
        withExtendedLifetime(certificates) {}
    }

    @Test("The backing disconnects at each read -> the read fails, and uses little CPU")
    func breakingOff() async throws {
        let script = "try:\n h.pread(4096, 0)\nexcept nbd.Error as e: print(e.errnum)"
        let result = try await run(
            answers: "{0: None}",
            "nbdsh -u \"$uri\" -c \"\(script)\"; cut -d \" \" -f 14,15 /proc/$PPID/stat")
        let lines = result.output.split(separator: "\n")
        #expect(lines.first == "5", "\(result)")
        // Hundredths of a second of CPU time, within thirty seconds.
        let ticks = lines.last?.split(separator: " ").compactMap { Int($0) } ?? []
        #expect(ticks.count == 2 && ticks.reduce(0, +) < 500, "\(result)")
    }

    /// Returns the output of a command that runs under `nearblock serve --run` with such a server as backing.
    private func run(
        answers: String, _ command: String, certificates: String? = nil
    ) async throws -> Command.Result {
        let program = server(answers: answers, certificates: certificates ?? "")
        let faulty = try scratch.write(Array(program.utf8), to: "faulty.py")
        let uri =
            "\(certificates == nil ? "nbd" : "nbds")+unix:///?socket=\(scratch.file("faulty.sock"))"
            + (certificates.map { "&tls-certificates=\($0)" } ?? "")
        let command = try scratch.write(Array(command.utf8), to: "command")
        let script = """
            python3 \(faulty) & p=$!
            for i in $(seq 100); do test -S \(scratch.file("faulty.sock")) && break; sleep 0.05; done
            \(Nearblock.path) serve '\(uri)' \
                \(common("faulty").joined(separator: " ")) --run '. \(command)'
            s=$?; kill $p; exit $s
            """
        return try await Command.run("bash", "-c", script)
    }

    @Test("A failed FUA write -> every client gets one error, because its writes may be lost")
    func forcedWrite() async throws {
        let (backing, socket) = (scratch.file("forced.sock"), scratch.file("s"))
        let steps = """
            import nbd
            def attempt(act, *arguments):
                try: act(*arguments); return "ok"
                except nbd.Error as e: return e.errno
            a, b = nbd.NBD(), nbd.NBD()
            for h in a, b: h.connect_uri("nbd+unix:///?socket=\(socket)")
            a.pwrite(bytes(512), 0)
            print(attempt(b.pwrite, bytes(512), 512, nbd.CMD_FLAG_FUA))
            print(*[attempt(h.flush) for h in (a, b, a, b)])
            """
        let clients = try scratch.write(Array(steps.utf8), to: "clients.py")
        let script = """
            nbdkit -f -U \(backing) eval get_size='echo 1048576' can_write='exit 0' can_flush='exit 0' flush='exit 0' \
                can_fua='echo native' pread='head -c $3 /dev/zero' \
                pwrite='cat > /dev/null; case "$5" in *fua*) echo EIO it fails >&2; exit 1;; esac' & p=$!
            for i in $(seq 100); do test -S \(backing) && break; sleep 0.05; done
            \(Nearblock.path) serve 'nbd+unix:///?socket=\(backing)' --socket \(socket) \
                \(common("forced").joined(separator: " ")) & n=$!
            for i in $(seq 100); do test -S \(socket) && break; sleep 0.05; done
            /usr/bin/python3 \(clients); kill $n; wait $n; kill $p
            """
        let result = try await Command.run("bash", "-c", script)
        #expect(result.output == "EIO\nEIO EIO ok ok\n", "\(result)")
    }

    @Test("A backing that does not answer -> the node still ends")
    func silence() async throws {
        let socket = scratch.file("slow.sock")
        let script = """
            nbdkit -f -U \(socket) --filter=delay memory 1M rdelay=1000 wdelay=1000 & p=$!
            for i in $(seq 100); do test -S \(socket) && break; sleep 0.05; done
            \(Nearblock.path) serve 'nbd+unix:///?socket=\(socket)' --socket \(scratch.file("s")) \
                \(common("slow").joined(separator: " ")) & n=$!
            for i in $(seq 100); do test -S \(scratch.file("s")) && break; sleep 0.05; done
            nbdsh -u 'nbd+unix:///?socket=\(scratch.file("s"))' -c '
            h.aio_pread(nbd.Buffer(512), 0)
            h.aio_pwrite(nbd.Buffer.from_bytearray(bytearray(512)), 0)
            print("asked", flush=True)
            while True: h.poll(-1)' > \(scratch.file("asked")) 2>&1 & c=$!
            for i in $(seq 200); do test -s \(scratch.file("asked")) && break; sleep 0.05; done
            sleep 0.5
            kill $n
            timeout 30 tail --pid=$n -f /dev/null; echo "waited $?"
            wait $n; echo "node $?"
            kill -9 $p $c $n
            """
        let result = try await Command.run("bash", "-c", script)
        #expect(result.output == "waited 0\nnode 0\n", "\(result)")
    }
}
