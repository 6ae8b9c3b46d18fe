import Foundation
import TestSupport
import Testing

/// A mistake of an operator, and the parts of the one line that answers it: where it is, and what to do.
struct Mistake: CustomTestStringConvertible, Sendable {
    let name: String
    /// Words of the command; `%` stands for the scratch folder.
    let command: [String]
    let parts: [String]

    init(_ name: String, _ command: String, _ parts: String...) {
        self.name = name
        self.command = command.split(separator: " ").map(String.init)
        self.parts = parts
    }

    var testDescription: String { name }

    /// Runs the command, and checks its answer.
    /// - Parameter more: Words after those of the command.
    func check(in folder: String, _ more: [String] = []) async throws {
        let words = command.map { $0.replacing("%", with: folder) }
        let result = try await Nearblock.run(words + more)
        #expect(result.status != 0, "\(name): \(result)")
        let lines = result.errors.split(separator: "\n").map(String.init)
        let last = lines.last ?? ""
        #expect(last.hasPrefix("nearblock: "), "\(name): \(result.errors)")
        // An export that is held back has a line of its own in the log.
        let others = lines.dropLast().filter { !$0.contains(" is not offered: ") }
        #expect(others.isEmpty, "\(name): \(result.errors)")
        for part in parts {
            let said = part.replacing("%", with: folder)
            #expect(result.errors.contains(said), "\(name): no '\(said)' in \(result.errors)")
        }
    }
}
