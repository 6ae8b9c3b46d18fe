import TestSupport
import Testing

@testable import MigrationCore

@Suite("Kinds of QEMU's channels")
struct QEMUChannelTests {
    private func check(
        _ stream: QEMUStreamBuilder, problem: String? = nil, sourceLocation: SourceLocation = #_sourceLocation
    ) {
        let parsed = ParsedStream(stream.bytes, sourceLocation: sourceLocation)
        #expect(parsed.parts == stream.expected, sourceLocation: sourceLocation)
        #expect(parsed.problem == problem, sourceLocation: sourceLocation)
    }

    /// A stream that is passed as it is.
    private func check(_ bytes: [UInt8], problem: String?, sourceLocation: SourceLocation = #_sourceLocation) {
        let parsed = ParsedStream(bytes, sourceLocation: sourceLocation)
        #expect(parsed.parts == [StreamPart(.bytes, bytes.count)], sourceLocation: sourceLocation)
        #expect(parsed.problem == problem, sourceLocation: sourceLocation)
    }

    @Test("TLS -> bytes, and a problem")
    func encrypted() {
        var stream = QEMUStreamBuilder()
        stream.add([0x16, 3, 1, 2, 0, 1, 0, 1] + stream.random.bytes(20_000))
        check(stream, problem: "QEMU encrypts the stream with TLS")
    }

    @Test("Answers of the destination -> bytes, and no problem")
    func returnPath() {
        check([0, 1, 0, 4, 0, 0, 0, 0], problem: nil)
        check([0, 2, 0, 4, 0, 0, 0, 1, 0, 4, 0, 12] + [UInt8](repeating: 0, count: 12), problem: nil)
    }

    @Test("An unknown beginning -> bytes, and a problem")
    func unknown() {
        let problem = "no stream of QEMU or Xen is known that begins with the bytes 0x"
        check(Array("GET / HTTP/1.1\r\n".utf8), problem: problem + "474554202f204854")
        check([0x10, 0, 0, 0, 0, 0, 0, 8], problem: problem + "1000000000000008")
        check([8, 0, 99, 0, 0, 0, 0, 0], problem: problem + "800630000000000")
    }

    @Test("A stream that ends at once -> bytes, and no problem", arguments: 0...7)
    func short(count: Int) {
        let bytes = [UInt8](QEMUStreamBuilder.untilPages().bytes.prefix(count))
        let parsed = ParsedStream(bytes)
        #expect(parsed.parts == (count == 0 ? [] : [StreamPart(.bytes, count)]))
        #expect(parsed.problem == nil)
    }

    @Test("A multifd channel of 7.2: packets with and without pages -> bare pages")
    func multifd() {
        var stream = QEMUStreamBuilder()
        stream.openMultifd()
        stream.packet(pages: 128)
        stream.packet(pages: 1)
        // A packet that only synchronises repeats an earlier size.
        stream.packet(pages: 0, flags: 1, size: 4096)
        stream.packet(pages: 3, flags: 1)
        check(stream)
        #expect(stream.expected.count { $0.kind == .barePage } == 132)
    }

    @Test("A multifd channel of 10.0: zero pages, synchronisation, devices -> bare pages")
    func laterMultifd() {
        var stream = QEMUStreamBuilder()
        stream.openMultifd()
        stream.packet(pages: 0, flags: 1, room: 0)
        stream.packet(pages: 100, zeroPages: 28)
        stream.packet(pages: 0, zeroPages: 128)
        stream.devicePacket(stream.random.bytes(12_345))
        stream.devicePacket([])
        stream.packet(pages: 128)
        stream.packet(pages: 0, flags: 1, room: 0)
        check(stream)
        #expect(stream.expected.count { $0.kind == .barePage } == 228)
    }

    @Test(
        "A multifd channel of a guest with other pages -> bare pages of 4 KiB, or bytes",
        arguments: [1024, 8192, 16384, 65536])
    func multifdPageSizes(pageBytes: Int) {
        var stream = QEMUStreamBuilder()
        stream.openMultifd()
        stream.packet(pages: 5, pageBytes: pageBytes)
        stream.packet(pages: 0, pageBytes: pageBytes, flags: 1, room: 0)
        stream.packet(pages: 8, pageBytes: pageBytes)
        check(stream)
    }

    /// A channel that goes wrong in the second packet.
    private func check(problem: String, _ add: (inout QEMUStreamBuilder) -> Void) {
        var stream = QEMUStreamBuilder()
        stream.openMultifd()
        stream.packet(pages: 2)
        var expected = stream
        add(&stream)
        stream.packet(pages: 2)
        expected.add(Array(stream.bytes[expected.bytes.count...]))
        let parsed = ParsedStream(stream.bytes)
        #expect(parsed.parts == expected.expected)
        #expect(parsed.problem == problem)
    }

    @Test(
        "Compression in a multifd channel -> bytes, and a problem",
        arguments: [(2, "zlib"), (4, "zstd"), (8, "qpl"), (16, "uadk"), (32, "qatzip"), (6, "unknown, 3")])
    func compression(flags: UInt32, name: String) {
        check(problem: "multifd-compression is on (\(name))") { $0.packet(pages: 2, flags: flags) }
    }

    @Test("A malformed packet in a multifd channel -> bytes, and a problem")
    func malformed() {
        let problem = "the multifd channel has a malformed packet"
        check(problem: problem) { $0.packet(pages: 2, size: 4096) }
        check(problem: problem) { $0.packet(pages: 129) }
        check(problem: problem) { $0.packet(pages: 2, room: 127) }
        check(problem: problem) { $0.packet(pages: 2, room: 1024) }
        check(problem: problem) { $0.add([UInt8](repeating: 1, count: 12)) }
        check(problem: "the multifd channel has version 2, not 1") {
            $0.add([0x11, 0x22, 0x33, 0x44, 0, 0, 0, 2, 0, 0, 0, 0])
        }
    }

    @Test("A multifd channel of another version -> bytes, and a problem")
    func multifdVersion() {
        var stream = QEMUStreamBuilder()
        stream.openMultifd(version: 2)
        stream.add([UInt8](repeating: 0, count: 10_000))
        check(stream, problem: "the multifd channel has version 2, not 1")
    }
}
