import Foundation
import TestSupport
import Testing

/// Xen's own program that judges migration streams: Debian's package xen-utils-4.17 has it.
enum XenVerifier {
    static let program: URL? = {
        let root = ProcessInfo.processInfo.environment["NEARBLOCK_XEN"] ?? "/"
        let libraries = URL(fileURLWithPath: root).appendingPathComponent("usr/lib")
        let names = (try? FileManager.default.contentsOfDirectory(atPath: libraries.path)) ?? []
        return names.filter { $0.hasPrefix("xen-") }.map {
            libraries.appendingPathComponent("\($0)/bin/verify-stream-v2")
        }.first { FileManager.default.fileExists(atPath: $0.path) }
    }()

    static func accepts(_ stream: [UInt8], format: String = "xl") async throws -> Bool {
        let program = try #require(Self.program)
        let package = program.deletingLastPathComponent().deletingLastPathComponent()
        let scratch = Scratch()
        let file = try scratch.write(stream, to: "stream")
        return try await onThread {
            let process = try ChildProcess(
                "/usr/bin/env",
                [
                    "PYTHONPATH=\(package.path)/lib/python", "PYTHONDONTWRITEBYTECODE=1", "python3", program.path,
                    "--quiet", "--format=\(format)", "--in=\(file)",
                ])
            return process.waitUntilExit() == 0
        }
    }
}
