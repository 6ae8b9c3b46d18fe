import Foundation

/// A loop device over a file; needs root.
package struct LoopDevice: ~Copyable {
    package static let isPossible =
        getuid() == 0 && access("/dev/loop-control", F_OK) == 0 && access("/usr/sbin/losetup", X_OK) == 0

    package let path: String

    package init(file: String, sectorSize: Int) async throws {
        let result = try await Command.run(
            "/usr/sbin/losetup", "--find", "--show", "--sector-size", "\(sectorSize)", file)
        guard result.status == 0 else { throw CocoaError(.fileReadUnknown) }
        path = result.output.trimmingCharacters(in: .whitespacesAndNewlines)
    }

    package func remove() async throws { try await Self.detach(path) }

    /// Reserves device numbers for one test: `losetup --find` takes the lowest that is free.
    package static func reserveNumbers(_ count: Int) -> [String] {
        let first = Int.random(in: 100..<900_000)
        return (0..<count).map { "/dev/loop\(first + $0)" }
    }

    /// Attaches a file to the device of that number.
    package static func attach(_ file: String, to path: String) async throws {
        let result = try await Command.run("/usr/sbin/losetup", path, file)
        guard result.status == 0 else { throw Failure(description: "losetup \(path) \(file): \(result.errors)") }
    }

    /// Has a device detached. The kernel does so once nobody has it open.
    package static func detach(_ path: String) async throws {
        _ = try await Command.run("/usr/sbin/losetup", "-d", path)
    }

    /// Detaches a device that nobody uses, except for a process that was killed and may still be ending.
    package static func detachUnused(_ path: String) async throws {
        try await detach(path)
        let file = "/sys/block/\(URL(fileURLWithPath: path).lastPathComponent)/loop"
        try await waitUntil("\(path) is detached") { access(file, F_OK) != 0 }
    }

    package struct Failure: Error, CustomStringConvertible {
        package let description: String
    }
}
