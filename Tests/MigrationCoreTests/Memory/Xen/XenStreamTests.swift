import TestSupport
import Testing

@testable import MigrationCore

@Suite("Xen's streams")
struct XenStreamTests {
    private struct Kind: CustomTestStringConvertible {
        let isBigEndian: Bool
        let isParavirtual: Bool
        let version: UInt32

        var testDescription: String {
            "\(isBigEndian ? "big" : "little")-endian, \(isParavirtual ? "PV" : "HVM"), version \(version)"
        }
    }

    private static let kinds = [false, true].flatMap { order in
        [false, true].flatMap { isParavirtual in
            [2, 3].map { Kind(isBigEndian: order, isParavirtual: isParavirtual, version: $0) }
        }
    }

    private func expectAll(_ stream: XenStreamBuilder, sourceLocation: SourceLocation = #_sourceLocation) {
        let parsed = ParsedStream(stream.bytes, sourceLocation: sourceLocation)
        #expect(parsed.problem == nil, sourceLocation: sourceLocation)
        #expect(parsed.parts == stream.expected, sourceLocation: sourceLocation)
        #expect(parsed.count(.barePage) > 0, sourceLocation: sourceLocation)
    }

    private func expectProblem(
        _ problem: String, _ stream: XenStreamBuilder, pages: Int = 0, sourceLocation: SourceLocation = #_sourceLocation
    ) {
        let parsed = ParsedStream(stream.bytes, sourceLocation: sourceLocation)
        #expect(parsed.problem == problem, sourceLocation: sourceLocation)
        #expect(parsed.count(.barePage) == pages, sourceLocation: sourceLocation)
    }

    // MARK: What is found

    @Test("xl's whole stream -> every page is found", arguments: kinds)
    private func wholeStream(kind: Kind) {
        expectAll(
            .migration(isBigEndian: kind.isBigEndian, isParavirtual: kind.isParavirtual, version: kind.version) {
                $0.pages(Array(repeating: 0, count: 1024))
                $0.pages([0])
                $0.pages([1, 2, 3, 4, 9, 10, 11, 12])
            })
    }

    @Test("Pages without content among others -> those with content are found")
    func typesWithoutContent() {
        expectAll(
            .migration {
                $0.pages([15, 0, 14, 13, 0, 0, 15])
                $0.pages([15, 15])
                $0.pages([0, 1])
            })
    }

    @Test("libxl's stream without xl's header, and libxc's image alone -> every page is found")
    func withoutOuterLevels() {
        var libxl = XenStreamBuilder()
        libxl.libxlHeader()
        libxl.context()
        libxl.image()
        libxl.pages([0, 0])
        libxl.finishImage()
        libxl.finishLibxl()
        expectAll(libxl)
        var libxc = XenStreamBuilder()
        libxc.image()
        libxc.pages([0, 0])
        libxc.finishImage()
        expectAll(libxc)
    }

    @Test("Records that are unknown, mandatory or optional, at both levels -> bytes, and pages behind them are found")
    func unknownRecords() {
        var stream = XenStreamBuilder()
        stream.xlHeader()
        stream.libxlHeader()
        for type: UInt32 in [6, 0x7fff_ffff, 0x8000_0001] { stream.record(type, stream.random.bytes(4097)) }
        stream.context()
        stream.image()
        for type: UInt32 in [0x13, 0x7fff_ffff, 0x8000_0001] { stream.record(type, stream.random.bytes(8200 + 3)) }
        stream.pages([0, 0, 0])
        stream.record(0xd)
        stream.pages([0])
        stream.finishImage()
        stream.record(0x8000_0002, stream.random.bytes(1))
        stream.finishLibxl()
        expectAll(stream)
    }

    @Test("Checkpoints -> pages of every one are found, with and without libxl around them")
    func checkpoints() {
        for isInLibxl in [true, false] {
            var stream = XenStreamBuilder()
            if isInLibxl {
                stream.libxlHeader()
                stream.context()
            }
            stream.image()
            for _ in 0..<3 {
                stream.pages([0, 0])
                stream.record(14)
                guard isInLibxl else { continue }
                stream.emulator(stream.random.bytes(100))
                stream.record(4)
                // COLO: the state of the checkpoint.
                stream.record(5, [0, 0, 0, 0])
            }
            stream.pages([0])
            stream.finishImage()
            if isInLibxl { stream.finishLibxl() }
            expectAll(stream)
        }
    }

    @Test("The talk of the two xl behind the end -> bytes, and no problem")
    func behindTheEnd() {
        var stream = XenStreamBuilder.migration { $0.pages([0]) }
        stream.add(Array("domain is yours, you are cleared to unpause\0".utf8))
        stream.add(stream.random.bytes(10_000))
        expectAll(stream)
    }

    @Test("Pages of 64 KiB -> pieces of 4 KiB are found")
    func largePages() {
        var stream = XenStreamBuilder()
        stream.image(pageBits: 16)
        stream.pages([0, 15, 0], pageBytes: 1 << 16)
        stream.finishImage()
        expectAll(stream)
    }

    // MARK: What is not understood

    @Test("Headers of other formats and versions -> a problem")
    func otherHeaders() {
        var stream = XenStreamBuilder()
        stream.xlHeader(flags: 1)
        expectProblem("xl sends the format of Xen before 4.6", stream)
        stream = XenStreamBuilder()
        stream.add(Array("Xen saved domain, xl format\n \0 \r".utf8) + [9, 9, 9, 9] + [UInt8](repeating: 0, count: 12))
        expectProblem("the header of xl has an unknown byte order", stream)
        stream = XenStreamBuilder()
        stream.add(Array("Xen saved domain of another kind".utf8) + [UInt8](repeating: 1, count: 16))
        expectProblem("the stream begins like one of Xen, and is none", stream)
        stream = XenStreamBuilder()
        stream.xlHeader()
        stream.add(stream.random.bytes(100))
        expectProblem("the stream begins like one of Xen, and is none", stream)
        stream = XenStreamBuilder()
        stream.libxlHeader(version: 3)
        expectProblem("libxl's stream has version 3, not 2", stream)
        stream = XenStreamBuilder()
        stream.libxlHeader()
        stream.context()
        stream.record(0, stream.random.bytes(100))
        expectProblem("no image of libxc follows libxl's record for it", stream)
        for version: UInt32 in [1, 4] {
            stream = XenStreamBuilder()
            stream.image(version: version)
            expectProblem("libxc's image has version \(version), not 2 or 3", stream)
        }
        for bits: UInt16 in [0, 11, 22, .max] {
            stream = XenStreamBuilder()
            stream.image(pageBits: bits)
            expectProblem("the guest has pages of 2^\(bits) bytes", stream)
        }
    }

    @Test(
        "Records of pages whose numbers don't agree -> a problem, and the pages before are found",
        arguments: [
            (0, 4096), (1, 4095), (1, 8192), (2, 0xffff), (.max, 16), (.max, 4096), (0x1000_0000, 128 << 20), (1, -8),
            (0, -8), (512, -4096),
        ] as [(UInt32, Int)])
    func pageNumbers(count: UInt32, content: Int) {
        var stream = XenStreamBuilder()
        stream.image()
        stream.pages([0])
        let length = UInt32(clamping: 8 + (count < 1 << 20 ? 8 * Int(count) : 0) + content)
        stream.add(stream.number(UInt32(1)) + stream.number(length) + stream.number(count) + stream.number(UInt32(0)))
        stream.add(stream.random.bytes(20_000))
        let problem =
            length > 128 << 20
            ? "libxc's record of type 1 has \(length) bytes" : "libxc's record of \(count) pages has \(length) bytes"
        expectProblem(problem, stream, pages: 1)
    }

    @Test("A record of libxc that is longer than Xen takes -> a problem; one of libxl of any length -> bytes")
    func longRecords() {
        var stream = XenStreamBuilder()
        stream.image()
        stream.pages([0])
        stream.add(stream.number(UInt32(9)) + stream.number(UInt32(128 << 20) + 1))
        stream.add(stream.random.bytes(9000))
        expectProblem("libxc's record of type 9 has 134217729 bytes", stream, pages: 1)
        stream = XenStreamBuilder()
        stream.libxlHeader()
        stream.add(stream.number(UInt32(3)) + stream.number(UInt32.max))
        stream.add(stream.random.bytes(90_000))
        let parsed = ParsedStream(stream.bytes)
        #expect(parsed.problem == nil)
        #expect(parsed.parts == [StreamPart(.bytes, stream.bytes.count)])
    }
}
