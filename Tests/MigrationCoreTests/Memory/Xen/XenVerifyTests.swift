import Foundation
import TestSupport
import Testing

@testable import MigrationCore

/// Xen's own program judges the streams of the other tests: Debian's package xen-utils-4.17 has it. `NEARBLOCK_XEN` names a
/// folder with the unpacked package; otherwise it must be installed.
@Suite("Streams judged by Xen's verify-stream-v2", .enabled(if: XenVerifyTests.program != nil))
struct XenVerifyTests {
    fileprivate static let program: URL? = {
        let root = ProcessInfo.processInfo.environment["NEARBLOCK_XEN"] ?? "/"
        let libraries = URL(fileURLWithPath: root).appendingPathComponent("usr/lib")
        let names = (try? FileManager.default.contentsOfDirectory(atPath: libraries.path)) ?? []
        return names.filter { $0.hasPrefix("xen-") }.map {
            libraries.appendingPathComponent("\($0)/bin/verify-stream-v2")
        }.first { FileManager.default.fileExists(atPath: $0.path) }
    }()

    private func accepts(_ stream: [UInt8], format: String = "xl") async throws -> Bool {
        let program = try #require(Self.program)
        let modules = program.deletingLastPathComponent().deletingLastPathComponent().appendingPathComponent("lib/python")
        let scratch = Scratch()
        let file = try scratch.write(stream, to: "stream")
        return try await onThread {
            let process = try ChildProcess(
                "/usr/bin/env",
                [
                    "PYTHONPATH=\(modules.path)", "PYTHONDONTWRITEBYTECODE=1", "python3", program.path, "--quiet",
                    "--format=\(format)", "--in=\(file)",
                ])
            return process.waitUntilExit() == 0
        }
    }

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
        #expect(try await accepts(stream.bytes))
        #expect(ParsedStream(stream.bytes).parts == stream.expected)
        #expect(try await !accepts(Array(stream.bytes.dropLast())))
    }

    @Test("An image without libxl -> accepted")
    func image() async throws {
        var stream = XenStreamBuilder()
        stream.image()
        stream.pages([0, 15, 1])
        stream.record(14)
        stream.pages([0])
        stream.finishImage()
        #expect(try await accepts(stream.bytes, format: "libxc"))
    }
}
