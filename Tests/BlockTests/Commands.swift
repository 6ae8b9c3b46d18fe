import Foundation

/// Runs other programs, as the user would, for a minute at most.
enum Command {
    struct Missing: Error, CustomStringConvertible {
        let name: String
        var description: String { "\(name) is missing: nbd-scripts/install-packages test installs it" }
    }

    /// Runs a program and returns its exit status with all that it said.
    static func run(_ name: String, _ arguments: String...) async throws -> (status: Int32, output: String) {
        let path = "/usr/bin/\(name)"
        guard access(path, X_OK) == 0 else { throw Missing(name: name) }
        return try await onThread {
            let process = Process()
            // A file and no pipe: a daemon that keeps it open must not keep us waiting.
            let scratch = Scratch()
            let output = FileHandle(forWritingAtPath: try scratch.write([], to: "output"))
            process.executableURL = URL(fileURLWithPath: "/usr/bin/timeout")
            process.arguments = ["-k", "1", "60", path] + arguments
            process.standardInput = FileHandle.nullDevice
            process.standardOutput = output
            process.standardError = output
            try process.run()
            process.waitUntilExit()
            return (
                process.terminationStatus, String(decoding: try scratch.contents("output"), as: UTF8.self)
            )
        }
    }
}

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
        guard let process = try? Process.run(URL(fileURLWithPath: path), arguments: arguments) else {
            return -1
        }
        process.waitUntilExit()
        return process.terminationStatus
    }
}
