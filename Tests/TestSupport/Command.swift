import Foundation

/// Runs other programs, as the user would, to their end and for a minute at most.
package enum Command {
    /// How a program ended.
    package struct Result: Sendable {
        package let status: Int32
        /// What it said on standard output.
        package let output: String
        /// What it said on standard error.
        package let errors: String
    }

    /// A program that the tests need is not installed: an error, and no reason to pass.
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
            // Files and no pipes: a daemon that keeps them open must not keep us waiting.
            let scratch = Scratch()
            let output = try scratch.write([], to: "output")
            let errors = try scratch.write([], to: "errors")
            // nbdsh takes the first Python in PATH; Debian's has libnbd.
            let environment = ["PATH=/usr/bin:/bin:/usr/sbin:/sbin", "LC_ALL=C.UTF-8"]
            let process = try ChildProcess(
                "/usr/bin/timeout", ["-k", "1", "60", path] + arguments, environment: environment, output: output,
                errors: errors)
            return Result(
                status: process.waitUntilExit(),
                output: String(decoding: try scratch.contents("output"), as: UTF8.self),
                errors: String(decoding: try scratch.contents("errors"), as: UTF8.self))
        }
    }
}
