import TestSupport
import Testing

@testable import MigrationCore

/// `NEARBLOCK_XEN` names a folder with the unpacked package xen-utils-4.17; otherwise it must be installed.
@Suite("Streams judged by Xen's verify-stream-v2", .enabled(if: XenVerifier.program != nil))
struct XenVerifyTests {
    @Test("HVM and PV, versions 2 and 3 -> accepted", arguments: [false, true], [2, 3] as [UInt32])
    func migrations(isParavirtual: Bool, version: UInt32) async throws {
        var random = Seeded.fresh()
        let stream = XenStreamBuilder.migration(
            Seeded(random.next()), isParavirtual: isParavirtual, version: version
        ) { stream in
            stream.pages(Array(repeating: 0, count: 1024))
            stream.pages(XenStreamBuilder.withContent + XenStreamBuilder.without)
            stream.pages(XenStreamBuilder.without)
            stream.record(13)
            stream.pages([0])
        }
        #expect(try await XenVerifier.accepts(stream.bytes))
        #expect(ParsedStream(stream.bytes).parts == stream.expected)
        #expect(try await !XenVerifier.accepts(Array(stream.bytes.dropLast())))
    }

    @Test("An image without libxl -> accepted")
    func image() async throws {
        var stream = XenStreamBuilder()
        stream.image()
        stream.pages([0, 15, 1])
        stream.record(14)
        stream.pages([0])
        stream.finishImage()
        #expect(try await XenVerifier.accepts(stream.bytes, format: "libxc"))
    }
}
