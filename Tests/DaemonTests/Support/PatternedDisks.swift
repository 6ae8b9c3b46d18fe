import Foundation
import TestSupport

@testable import MigrationProtocol

/// Disks that are each filled with one byte, so that a read shows which disk it reached.
enum PatternedDisks {
    static let size = 1 << 20

    static func make(_ path: String, _ pattern: UInt8) throws {
        try Data(repeating: pattern, count: size).write(to: URL(fileURLWithPath: path))
    }

    static func holds(_ path: String, _ pattern: UInt8) throws -> Bool {
        try Data(contentsOf: URL(fileURLWithPath: path)).allSatisfy { $0 == pattern }
    }

    /// Returns whether a client of an export reads only `pattern`.
    static func reads(_ uri: String, _ pattern: UInt8) async throws -> Bool {
        let result = try await Command.run("qemu-io", ["-r", "-f", "raw", "-c", "read -P \(pattern) 0 \(size)", uri])
        return result.status == 0 && !result.output.contains("failed")
    }

    /// Fills an export with `pattern` through a client, and flushes.
    static func write(_ uri: String, _ pattern: UInt8) async throws -> Bool {
        let result = try await Command.run(
            "qemu-io", ["-f", "raw", "-c", "write -P \(pattern) 0 \(size)", "-c", "flush", uri])
        return result.status == 0 && !result.output.contains("failed")
    }
}
