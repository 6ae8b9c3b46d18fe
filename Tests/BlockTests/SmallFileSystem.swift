import Foundation
import TestSupport

/// A file system of one megabyte.
struct SmallFileSystem {
    let path: String

    static var isPossible: Bool {
        geteuid() == 0 && mountStatus("-t", "tmpfs", "--fake", "none", "/mnt") == 0
    }

    init(on path: String) throws {
        self.path = path
        mkdir(path, 0o700)
        guard Self.mountStatus("-t", "tmpfs", "-o", "size=1m", "nearblock-test", path) == 0 else {
            throw CocoaError(.fileWriteUnknown)
        }
    }

    func unmount() { _ = Self.status("/bin/umount", ["-l", path]) }

    private static func mountStatus(_ arguments: String...) -> Int32 { status("/bin/mount", arguments) }

    private static func status(_ path: String, _ arguments: [String]) -> Int32 {
        (try? ChildProcess(path, arguments))?.waitUntilExit() ?? -1
    }
}
