import Foundation

/// Runs other programs, as the user would, for a minute at most.
enum Command {
    struct Missing: Error, CustomStringConvertible {
        let name: String
        var description: String { "\(name) is missing: nbd-scripts/install-packages test installs it" }
    }

    /// Runs a program and returns its exit status with all that it said.
    static func run(_ name: String, _ arguments: String...) async throws -> (status: Int32, output: String) {
        try await run(name, arguments)
    }

    static func run(_ name: String, _ arguments: [String]) async throws -> (status: Int32, output: String) {
        let path = "/usr/bin/\(name)"
        guard access(path, X_OK) == 0 else { throw Missing(name: name) }
        return try await onThread {
            let process = Process()
            // A file and no pipe: a daemon that keeps it open must not keep us waiting.
            let scratch = Scratch()
            let output = FileHandle(forWritingAtPath: try scratch.write([], to: "output"))
            process.executableURL = URL(fileURLWithPath: "/usr/bin/timeout")
            process.arguments = ["-k", "1", "60", path] + arguments
            // nbdsh takes the first Python in PATH; Debian's has libnbd.
            process.environment = ["PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "LC_ALL": "C.UTF-8"]
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
