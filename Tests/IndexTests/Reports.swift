import NIOConcurrencyHelpers

/// Collects numbers from any thread.
final class Reports: Sendable {
    private let numbers = NIOLockedValueBox<[UInt64]>([])

    var all: [UInt64] { numbers.withLockedValue { $0 } }

    func add(_ number: UInt64) { numbers.withLockedValue { $0.append(number) } }
}
