import Foundation

/// A block device of the kernel's on top of a file; needs root.
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

    package func remove() async throws { _ = try await Command.run("/usr/sbin/losetup", "-d", path) }
}
