import Foundation

/// A small `tmpfs`; needs the right to mount.
package struct SmallFileSystem {
    /// A file system that could not be mounted.
    package struct Failure: Error, CustomStringConvertible {
        package let description: String
    }

    package let path: String

    package static var isPossible: Bool {
        geteuid() == 0 && mountStatus("-t", "tmpfs", "--fake", "none", "/mnt") == 0
    }

    /// Mounts one on a new folder.
    /// - Parameter size: the size as `mount` takes it.
    /// - Throws: `Failure`.
    package init(on path: String, size: String = "1M") throws {
        self.path = path
        mkdir(path, 0o700)
        guard Self.mountStatus("-t", "tmpfs", "-o", "size=\(size)", "nearblock-test", path) == 0 else {
            throw Failure(description: "this test mounts a small tmpfs on \(path) and needs root")
        }
    }

    package func unmount() { _ = Self.status("/bin/umount", ["-l", path]) }

    private static func mountStatus(_ arguments: String...) -> Int32 { status("/bin/mount", arguments) }

    private static func status(_ path: String, _ arguments: [String]) -> Int32 {
        (try? ChildProcess(path, arguments))?.waitUntilExit() ?? -1
    }
}
