import Daemon
import Foundation
import Migration

/// Formats numbers for people.
enum Format {
    /// `1.4 GiB`; powers of 1024.
    static func bytes(_ count: UInt64) -> String {
        let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"]
        var value = Double(count)
        var unit = 0
        while value >= 1024, unit < units.count - 1 {
            value /= 1024
            unit += 1
        }
        return unit == 0
            ? "\(count) B" : String(format: value < 10 ? "%.2f %@" : "%.1f %@", value, units[unit])
    }

    /// `5 failed requests (2 read EIO, 3 write ENOSPC)`.
    static func failures(_ failures: [FailedRequests]) -> String {
        let total = failures.reduce(0) { $0 &+ $1.count }
        let kinds = failures.map { "\($0.count) \($0.request) \($0.error)" }.joined(separator: ", ")
        return "\(total) failed request\(total == 1 ? "" : "s") (\(kinds))"
    }

    /// `12.3 %` of a whole.
    static func percent(_ part: UInt64, of whole: UInt64) -> String {
        String(format: "%5.1f %%", whole == 0 ? 0 : Double(part) / Double(whole) * 100)
    }

    /// `1.25 s` or `48 ms`.
    static func seconds(_ value: Double) -> String {
        value < 1 ? String(format: "%.0f ms", value * 1000) : String(format: "%.2f s", value)
    }

    /// `94.3 Mbit/s`; powers of 1000.
    static func bitRate(_ bitsPerSecond: Double) -> String {
        let units = ["bit/s", "kbit/s", "Mbit/s", "Gbit/s"]
        var value = bitsPerSecond
        var unit = 0
        while value >= 1000, unit < units.count - 1 {
            value /= 1000
            unit += 1
        }
        return String(format: "%.1f %@", value, units[unit])
    }

    /// `1.4 MiB/s`; a rate that no number of bytes can express is shown as the largest one.
    static func rate(_ bytesPerSecond: Double) -> String {
        "\(bytes(UInt64(exactly: bytesPerSecond.rounded(.down)) ?? .max))/s"
    }

    /// `about 12.30 s left`.
    static func timeLeft(_ value: Double) -> String { "about \(seconds(value)) left" }

    /// Formats progress, speed and remaining time of a migration.
    static func progress(_ progress: MigrationProgress) -> String {
        let isFollowing = progress.phase == "post-copy"
        var parts = [
            isFollowing
                ? "\(bytes(progress.dirty)) to follow"
                : "round \(progress.round): \(percent(progress.done, of: progress.total).drop { $0 == " " })"
        ]
        parts.append("\(bitRate(progress.linkRate))")
        if progress.dirtyRate >= 1, !isFollowing { parts.append("\(rate(progress.dirtyRate)) written") }
        if let free = progress.free { parts.append("\(bytes(free.sent)) of \(bytes(free.known)) free sent") }
        if let left = progress.secondsLeft { parts.append(timeLeft(left)) }
        return parts.joined(separator: ", ")
    }
}
