import Foundation
import Logging
import Migration
import MigrationProtocol
import NIOConcurrencyHelpers

/// Logs, counts and remembers how migrations from this node end. Any thread may use it.
final class MigrationOutcomes: Sendable {
    /// Exports whose last migrations are remembered; the oldest make room.
    private static let limit = 256

    private let logger: Logger
    private let counts: Bool
    private let last = NIOLockedValueBox<[FinishedMigration]>([])

    /// - Parameter counts: Whether the metrics of migrations are kept.
    init(logger: Logger, counts: Bool) {
        self.logger = logger
        self.counts = counts
    }

    /// The last finished migration of each export, the oldest first.
    var finished: [FinishedMigration] { last.withLockedValue { $0 } }

    /// Records disks that have moved.
    func record(_ reports: [MigrationReport], destination: String) {
        for report in reports {
            logger.notice("\(report.export): the migration is complete", metadata: Self.values(report, destination))
            if counts {
                FacadeMetrics.migrations(.moved).increment()
                FacadeMetrics.downtime.recordSeconds(report.seconds.pause)
            }
            last.withLockedValue { last in
                last.removeAll { $0.report.export == report.export }
                if last.count >= Self.limit { last.removeFirst() }
                last.append(FinishedMigration(report: report, destination: destination, end: Date()))
            }
        }
    }

    /// Counts disks that stay here.
    func record(_ error: any Error, disks: Int) {
        guard counts else { return }
        var isCancelled = error is CancellationError
        if case MigrationError.cancelled = error { isCancelled = true }
        FacadeMetrics.migrations(isCancelled ? .cancelled : .failed).increment(by: disks)
    }

    private static func values(_ report: MigrationReport, _ destination: String) -> Logger.Metadata {
        var values: Logger.Metadata = [
            "export": "\(report.export)", "to": "\(destination)", "size": "\(report.size)",
            "resent": "\(report.resent)", "rounds": "\(report.rounds)", "wire": "\(report.wire.total)",
            "root": "\(report.root)", "seconds": "\(rounded(report.seconds.total))",
            "downtime": "\(rounded(report.seconds.pause))", "postcopy": "\(rounded(report.seconds.postcopy))",
        ]
        for (source, bytes) in report.ledger.bySource { values[source] = "\(bytes)" }
        return values
    }

    /// Milliseconds are enough for people.
    private static func rounded(_ seconds: Double) -> Double { (seconds * 1000).rounded() / 1000 }
}
