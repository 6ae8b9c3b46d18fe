import Foundation

/// Machine-readable output.
enum JSON {
    /// Prints one object in a line on standard output.
    static func print(_ value: some Encodable) throws {
        Swift.print(try line(value))
    }

    /// Returns one object in a line.
    static func line(_ value: some Encodable) throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return String(decoding: try encoder.encode(value), as: UTF8.self)
    }
}
