import Foundation
import Index
import NIOConcurrencyHelpers

/// Shows progress, rate and remaining time of reading an image, at most every 200 ms.
final class BuildProgressLine: Sendable {
    private static let interval = Duration.milliseconds(200)

    private let name: String
    private let start = ContinuousClock.now
    private let shown = NIOLockedValueBox(ContinuousClock.now)

    init(_ name: String) {
        self.name = name
    }

    func show(_ progress: BuildProgress) {
        guard Terminal.showsProgress, isDue else { return }
        let elapsed = start.duration(to: .now) / .seconds(1)
        let rate = Double(progress.done) / max(elapsed, 0.001)
        let left = rate > 0 ? Double(progress.total - min(progress.done, progress.total)) / rate : 0
        let share = "\(Format.percent(progress.done, of: progress.total)) of \(Format.bytes(progress.total))"
        Terminal.progress([
            "\(name): \(share)", "\(Format.seconds(left)) left", "\(Format.bytes(UInt64(rate)))/s",
        ])
    }

    private var isDue: Bool {
        shown.withLockedValue { last in
            guard last.duration(to: .now) >= Self.interval else { return false }
            last = .now
            return true
        }
    }
}
