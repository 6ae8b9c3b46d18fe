import Foundation

/// Runs programs to their end.
enum Command {
    struct Result {
        let status: Int32
        let output: String
        let errors: String
    }

    /// The program under test, built beside the tests.
    static let nearblock: String = {
        let tests = (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? ""
        return URL(fileURLWithPath: tests).deletingLastPathComponent().appendingPathComponent("nearblock")
            .path
    }()

    /// Runs a program that must exist; a missing one is an error and not a reason to pass.
    static func run(_ program: String, _ arguments: [String], timeout: Double = 60) throws -> Result {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = ["timeout", "-k", "5", String(timeout), program] + arguments
        let folder = try Scratch()
        for name in ["out", "err"] { try Data().write(to: URL(fileURLWithPath: folder.file(name))) }
        process.standardOutput = try FileHandle(forWritingTo: URL(fileURLWithPath: folder.file("out")))
        process.standardError = try FileHandle(forWritingTo: URL(fileURLWithPath: folder.file("err")))
        process.standardInput = FileHandle.nullDevice
        try process.run()
        process.waitUntilExit()
        return Result(
            status: process.terminationStatus,
            output: String(decoding: try folder.contents("out"), as: UTF8.self),
            errors: String(decoding: try folder.contents("err"), as: UTF8.self))
    }

    static func nearblock(_ arguments: [String], timeout: Double = 60) throws -> Result {
        try run(nearblock, arguments, timeout: timeout)
    }
}
