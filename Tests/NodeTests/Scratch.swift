import Foundation

/// A folder of a test's own, removed with the object.
final class Scratch: Sendable {
    let path: String

    init() throws {
        path = NSTemporaryDirectory() + "nb-\(UUID().uuidString.prefix(8))"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    func file(_ name: String) -> String { "\(path)/\(name)" }

    func contents(_ name: String) throws -> Data { try Data(contentsOf: URL(fileURLWithPath: file(name))) }

    /// A raw image of random blocks between zeros, sparse where it is zero.
    func makeImage(_ name: String, megabytes: Int) throws {
        var contents = Data()
        for block in 0..<megabytes * 256 {
            contents.append(
                block % 3 == 0
                    ? Data(repeating: 0, count: 4096) : Data((0..<512).flatMap { _ in Self.word() }))
        }
        try contents.write(to: URL(fileURLWithPath: file(name)))
    }

    private static func word() -> [UInt8] {
        withUnsafeBytes(of: UInt64.random(in: 0 ... .max)) { Array($0) }
    }
}
