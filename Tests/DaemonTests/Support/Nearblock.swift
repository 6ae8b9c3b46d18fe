import Foundation
import TestSupport

/// The program under test.
enum Nearblock {
    /// The program is built beside the tests.
    static let path: String = {
        let tests = (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? ""
        return URL(fileURLWithPath: tests).deletingLastPathComponent().appendingPathComponent("nearblock").path
    }()

    static func run(_ arguments: [String]) async throws -> Command.Result {
        try await Command.run(path, arguments)
    }
}
