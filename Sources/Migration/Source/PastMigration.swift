import Foundation

/// A migration from a node that has ended, as `nearblock status --completed` shows it.
public struct PastMigration: Codable, Sendable {
    /// Bytes of a message that are kept, at most.
    private static let longestProblem = 1024

    /// Name of the export.
    public let export: String
    /// Address of the destination.
    public let destination: String
    /// The end in one word: a `MigrationOutcome`; a later release may have others.
    public let state: String
    /// Time of the end, in ISO 8601 and UTC.
    public let ended: String
    /// Reason of a failure, in one line; nil for none.
    public let problem: String?
    /// The report of a complete migration; nil for others.
    public let report: MigrationReport?

    /// Describes a migration that ends now.
    public init(
        of export: String, to destination: String, _ outcome: MigrationOutcome, problem: String? = nil,
        report: MigrationReport? = nil, at now: Date = Date()
    ) {
        self.export = export
        self.destination = destination
        self.report = report
        state = outcome.rawValue
        ended = now.formatted(.iso8601)
        self.problem = problem.map { text in
            var text = text[...]
            while text.utf8.count > Self.longestProblem { text.unicodeScalars.removeLast() }
            return String(text)
        }
    }
}
