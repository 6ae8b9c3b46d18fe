import Synchronization

/// Collects numbers from any thread.
final class Reports: Sendable {
    private let numbers = Mutex<[UInt64]>([])

    var all: [UInt64] { numbers.withLock { $0 } }

    func add(_ number: UInt64) { numbers.withLock { $0.append(number) } }
}
