import NIOConcurrencyHelpers

/// True `count` times, then false.
final class Countdown: Sendable {
    private let left: NIOLockedValueBox<Int>

    init(_ count: Int) {
        left = NIOLockedValueBox(count)
    }

    func next() -> Bool {
        left.withLockedValue { left in
            left -= 1
            return left >= 0
        }
    }
}
