import Foundation

/// Runs other programs to their end, as a user would. Five minutes end a hang; no test relies on them.
package enum Command {
    /// The result of a program.
    package struct Result: Sendable {
        package let status: Int32
        /// The contents of standard output.
        package let output: String
        /// The contents of standard error.
        package let errors: String
    }

    /// A missing program that the tests need: an error, and no reason to skip a test.
    package struct Missing: Error, CustomStringConvertible {
        let name: String
        package var description: String { "\(name) is missing: nbd-scripts/install-packages test installs it" }
    }

    /// Runs a program: a name under `/usr/bin`, or a path.
    package static func run(_ name: String, _ arguments: String...) async throws -> Result {
        try await run(name, arguments)
    }

    package static func run(_ name: String, _ arguments: [String]) async throws -> Result {
        let path = name.hasPrefix("/") ? name : "/usr/bin/\(name)"
        guard access(path, X_OK) == 0 else { throw Missing(name: name) }
        return try await onThread {
            // Output goes to files and not to pipes, because a daemon may keep them open.
            let scratch = Scratch()
            let output = try scratch.write([], to: "output")
            let errors = try scratch.write([], to: "errors")
            // nbdsh uses the first Python in PATH; Debian's has libnbd.
            let environment = ["PATH=/usr/bin:/bin:/usr/sbin:/sbin", "LC_ALL=C.UTF-8"]
            let process = try ChildProcess(
                "/usr/bin/timeout", ["-k", "1", "300", path] + arguments, environment: environment, output: output,
                errors: errors)
            return Result(
                status: process.waitUntilExit(),
                output: String(decoding: try scratch.contents("output"), as: UTF8.self),
                errors: String(decoding: try scratch.contents("errors"), as: UTF8.self))
        }
    }
}
