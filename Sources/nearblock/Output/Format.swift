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

    /// `12.3 %` of a whole; at most 100 %, and that only of all of it.
    static func percent(_ part: UInt64, of whole: UInt64) -> String {
        let share = whole == 0 ? 0 : Double(min(part, whole)) / Double(whole) * 100
        return String(format: "%5.1f %%", part < whole ? min(share, 99.9) : share)
    }

    /// `45 s`, `3m 20s`, `2h 05m` or `12 d`: at most eight characters.
    static func shortTime(_ seconds: Double) -> String {
        guard let whole = Int(exactly: seconds.rounded(.up)), whole >= 0 else { return "" }
        switch whole {
        case ..<60: return "\(whole) s"
        case ..<3600: return String(format: "%dm %02ds", whole / 60, whole % 60)
        case ..<(48 * 3600): return String(format: "%dh %02dm", whole / 3600, whole % 3600 / 60)
        default: return whole / 86400 > 99999 ? "" : "\(whole / 86400) d"
        }
    }

    /// Facts about a migration beside its percentage and rate.
    static func details(_ progress: MigrationProgress) -> [String] {
        let isFollowing = progress.phase == "post-copy"
        var parts = [isFollowing ? "\(bytes(progress.dirty)) to follow" : "round \(progress.round)"]
        if !isFollowing, progress.dirty > 0 { parts.append("\(bytes(progress.dirty)) to send again") }
        if progress.dirtyRate >= 1, !isFollowing { parts.append("\(rate(progress.dirtyRate)) written") }
        if let free = progress.free { parts.append("\(bytes(free.sent)) of \(bytes(free.known)) free sent") }
        parts.append("\(bytes(progress.wire)) on the wire")
        return parts
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
