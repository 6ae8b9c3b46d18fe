import Foundation
import Testing

@testable import Migration

/// The text of a state record, which later releases must go on to read, and to write.
struct GoldenRecord: Sendable, CustomTestStringConvertible {
    let name: String
    private(set) var text: String
    /// Reads the record of a name, expects what it says, and writes it under another name.
    private let copy: @Sendable (StateDirectory, String, String) throws -> Void

    /// - Parameter check: expects that a record says what the text does.
    init<Record: Codable & Sendable>(
        _ name: String, _ type: Record.Type, _ text: String, check: @escaping @Sendable (Record) -> Void
    ) {
        self.name = name
        self.text = text
        copy = { directory, from, to in
            let record = try #require(try directory.read(type, from: from))
            check(record)
            try directory.write(record, as: to)
        }
    }

    var testDescription: String { name }

    /// The record with one more field than this release knows.
    func saying(more field: String) -> GoldenRecord {
        var record = self
        record.text = "{ \(field)," + text.dropFirst()
        return record
    }

    /// The text that comes of reading this one and writing what was read.
    /// - Parameter directory: empty.
    func writtenAgain(in directory: StateDirectory) throws -> String {
        try text.write(toFile: directory.path(of: "old"), atomically: true, encoding: .utf8)
        try copy(directory, "old", "new")
        return try String(contentsOfFile: directory.path(of: "new"), encoding: .utf8)
    }
}
