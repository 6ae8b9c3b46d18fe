import Foundation
import TestSupport
import Testing

/// Invariant 10 for the whole process: an admitted peer can't exceed the memory that README states.
@Suite("Memory that peers take", .timeLimit(.minutes(10)))
struct PeerMemoryTests {
    private let scratch = Scratch()

    /// Starts a node that accepts disks.
    private func destination() async throws -> (NodeProcess, port: UInt16) {
        let port = try FreePort.find()
        let node = try await NodeProcess(
            scratch.file("d"), ["--peer-listen", "127.0.0.1:\(port)", "--images", scratch.file("images")])
        return (node, port)
    }

    /// Runs an attack, and returns the numbers that it prints.
    private func attack(_ node: NodeProcess, _ port: UInt16, _ script: String) async throws -> [Int] {
        let file = try scratch.write(Array((HostilePeerScript.library + script).utf8), to: "attack.py")
        let result = try await Command.run(
            "python3", file, "\(port)", "\(node.processIdentifier)", scratch.file("images"))
        guard result.status == 0 else { throw NodeProcess.Failure(reason: "\(result) \(node.messages)") }
        return result.output.split(whereSeparator: \.isWhitespace).compactMap { Int($0) }
    }

    @Test("Long frames for an unknown disk -> they wait in the sender's socket")
    func longFramesBeforeTheDisk() async throws {
        let (node, port) = try await destination()
        let figures = try await attack(node, port, Self.longFramesBeforeTheDisk)
        #expect(figures.count == 2)
        #expect(figures[1] - figures[0] < 64 << 20, "\(figures)")
        #expect(try await node.stop() == 0)
    }

    private static let longFramesBeforeTheDisk = """
        process = sys.argv[2]
        _, migration = bring('disk', 1 << 30)
        before = memory(process, 'VmRSS')
        kept = [_]
        long = frame(request(1, 0, 32 << 20, bytes(32 << 20))) * 5
        links = [greet(connect(), FORWARD, migration) for _ in range(16)]
        senders = [threading.Thread(target=offer_without_reading, args=(link, long)) for link in links]
        for sender in senders: sender.start()
        for sender in senders: sender.join()
        print(before, memory(process, 'VmHWM'))
        """

    @Test("Long unrequested messages -> not accepted")
    func longFramesOfDisksThatArrive() async throws {
        let (node, port) = try await destination()
        let figures = try await attack(node, port, Self.longFramesOfDisksThatArrive)
        #expect(figures.count == 2)
        #expect(figures[1] - figures[0] < 64 << 20, "\(figures)")
        #expect(try await node.stop() == 0)
    }

    private static let longFramesOfDisksThatArrive = """
        process = sys.argv[2]
        kept = []
        for number in range(12):
            link, migration = bring(f'disk{number}', 1 << 30)
            link.sendall(frame(b'\\x40\\x01\\x02'))
            kept.append((link, greet(connect(), DEMAND, migration)))
        before = memory(process, 'VmRSS')
        # All but its end, for which the node would wait.
        long = frame(b'\\x31' + struct.pack('>Qi', 1, 0) + bytes(32 << 20))[:-1]
        senders = [threading.Thread(target=offer_without_reading, args=(channel, long)) for _, channel in kept]
        for sender in senders: sender.start()
        for sender in senders: sender.join()
        print(before, memory(process, 'VmHWM'))
        """

    @Test("Every other block zero -> manifest and missing blocks are not stored block by block")
    func alternatingBlocks() async throws {
        let (node, port) = try await destination()
        let figures = try await attack(node, port, Self.alternatingBlocks)
        #expect(figures.count == 4)
        // An array of them would take 16 MiB, and twice as much while it is built.
        #expect(figures[1] - figures[0] < 12 << 20, "\(figures)")
        #expect(figures[2] < 1 << 20, "the manifest's file takes \(figures[2]) bytes for blocks that never came")
        #expect(figures[3] == 1 << 20, "\(figures[3]) runs are missing")
        #expect(try await node.stop() == 0)
    }

    private static let alternatingBlocks = """
        process, images = sys.argv[2], sys.argv[3]
        blocks = 2 << 20
        link, migration = bring('disk', blocks * 4096)
        packed = bytes([0b01000100] * 1024)

        def say():
            for first in range(0, blocks, 4096):
                prefixes = b''.join(struct.pack('>Q', first + block + 1) for block in range(0, 4096, 2))
                link.sendall(frame(b'\\x11' + struct.pack('>QI', first, 4096) + packed + prefixes))
            link.sendall(frame(b'\\x18'))

        saying = threading.Thread(target=say)
        saying.start()
        while answer(link)[0] != 38: pass
        saying.join()
        held = sum(os.stat(os.path.join(images, name)).st_blocks * 512 for name in os.listdir(images))
        before = memory(process, 'VmHWM')
        link.sendall(frame(b'\\x40\\x03'))
        runs = 0
        while True:
            said = answer(link)
            if said[0] == 35: break
            assert said[:2] == b'\\x40\\x05', said[:8]
            runs += struct.unpack('>I', said[2:6])[0]
        print(before, memory(process, 'VmHWM'), held, runs)
        """

    @Test(
        "A peer forwards to many disks and reads no answers -> memory as for two disks",
        arguments: [(length: 8 << 20, count: 64), (length: 32 << 20, count: 1)])
    func forwardersThatTakeNoAnswer(_ reads: (length: Int, count: Int)) async throws {
        let (node, port) = try await destination()
        var lines = ""
        for number in 0..<Self.forwardedDisks {
            let image = try scratch.hole(64 << 20, "\(number).raw")
            lines += "[export disk\(number)]\nimage = \(image)\n"
        }
        let configuration = try scratch.write(Array(lines.utf8), to: "source.conf")
        let source = try await NodeProcess(scratch.file("s"), ["--config", configuration])
        let disks = (0..<Self.forwardedDisks).map { "disk\($0)" }
        let moved = try await source.ask(["migrate"] + disks + ["--to", "127.0.0.1:\(port)"])
        #expect(moved.status == 0, "\(moved.errors)")
        try await source.kill()
        // Identifiers of the attack's links.
        let state = "\(source.folder)/state"
        try FileManager.default.moveItem(atPath: state, toPath: scratch.file("names"))
        let script = "length, count = \(reads.length), \(reads.count)\n" + Self.forwardersThatTakeNoAnswer
        let figures = try await attack(node, port, script)
        #expect(figures.count == 4)
        let (before, most, begun, answered) = (figures[0], figures[1], figures[2], figures[3])
        #expect(begun == Self.forwardedDisks)
        // Limit: 128 MiB of answers; those being built, one a thread, count twice.
        #expect(most - before < 256 << 20, "\(figures)")
        #expect(answered == Self.forwardedDisks, "small requests have to wait for those of other disks")
        #expect(try await node.stop() == 0)
    }

    private static let forwardedDisks = 8

    private static let forwardersThatTakeNoAnswer = """
        import glob, json
        process, folder = sys.argv[2], os.path.dirname(sys.argv[3])

        def names(value):
            if isinstance(value, dict):
                if isinstance(value.get('migration'), dict): yield value['migration']
                for part in value.values(): yield from names(part)
            elif isinstance(value, list):
                for part in value: yield from names(part)

        known = set()
        for path in glob.glob(os.path.join(folder, 'names', '**', 'moved-*'), recursive=True):
            with open(path, 'rb') as file: record = file.read()
            for name in names(json.loads(record[record.index(b'{'):])): known.add(struct.pack('>QQ', name['high'], name['low']))
        before = memory(process, 'VmRSS')
        links = []
        for name in known:
            link = greet(connect('127.0.0.1'), FORWARD, name, 1)
            # One that must be answered although the others' are not taken.
            link.sendall(frame(request(0, 0, 4096)))
            said = answer(link)
            while said[0] != 49: said = answer(link)
            links.append(link)
        for link in links:
            link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            link.sendall(frame(request(0, 0, length)) * count)
        # Begun, and then no more until nothing has changed for a while.
        while memory(process, 'VmRSS') - before < 64 << 20: time.sleep(0.05)
        last, since = memory(process, 'VmHWM'), time.time()
        while time.time() - since < 2:
            time.sleep(0.05)
            if memory(process, 'VmHWM') != last: last, since = memory(process, 'VmHWM'), time.time()
        most = memory(process, 'VmHWM')
        for link in links: link.close()
        answered = 0
        for name in known:
            link = greet(connect('127.0.0.1'), FORWARD, name, 1)
            link.sendall(frame(request(0, 0, 4096)))
            said = answer(link)
            while said[0] != 49: said = answer(link)
            answered += 1
        print(before, most, len(links), answered)
        """
}
