import Glibc
import NIOConcurrencyHelpers

/// Limits several reading threads to a total number of bytes a second.
final class Pace: Sendable {
    private let bytesPerSecond: Double
    private let next = NIOLockedValueBox(ContinuousClock.now)

    init(bytesPerSecond: Double) {
        precondition(bytesPerSecond > 0)
        self.bytesPerSecond = bytesPerSecond
    }

    /// Blocks until that many bytes may be read.
    func wait(for bytes: Int) {
        let start = next.withLockedValue { next in
            let start = max(next, .now)
            next = start + .seconds(Double(bytes) / bytesPerSecond)
            return start
        }
        let wait = ContinuousClock.now.duration(to: start) / .microseconds(1)
        if wait > 0 { usleep(UInt32(min(wait, 1e9))) }
    }
}
