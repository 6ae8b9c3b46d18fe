import Daemon
import Migration

/// The progress row of a migration.
enum MigrationRow {
    /// Returns the texts of the row, the most important first.
    static func parts(_ progress: MigrationProgress) -> [String] {
        let isFollowing = progress.phase == "post-copy"
        var parts = [
            isFollowing
                ? "\(progress.phase), \(Format.bytes(progress.dirty)) to follow"
                : "\(progress.phase) round \(progress.round):"
                    + " \(Format.percent(progress.done, of: progress.total).drop { $0 == " " })"
        ]
        if let left = progress.secondsLeft { parts.append(Format.timeLeft(left)) }
        parts.append(Format.bitRate(progress.linkRate))
        parts.append("\(Format.bytes(progress.wire)) on the wire")
        if !isFollowing { parts.append("\(Format.bytes(progress.dirty)) to send again") }
        if progress.dirtyRate >= 1, !isFollowing { parts.append("\(Format.rate(progress.dirtyRate)) written") }
        if let free = progress.free {
            parts.append("\(Format.bytes(free.sent)) of \(Format.bytes(free.known)) free sent")
        }
        return parts
    }
}
