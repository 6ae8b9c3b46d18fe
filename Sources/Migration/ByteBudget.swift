import NIOConcurrencyHelpers

/// Bytes of memory that several links share.
final class ByteBudget: Sendable {
    /// How often it is looked whether there is room.
    private static let interval = Duration.milliseconds(1)

    private let limit: Int
    private let used = NIOLockedValueBox(0)

    init(_ limit: Int) {
        self.limit = limit
    }

    /// Bytes that are taken now.
    var taken: Int { used.withLockedValue { $0 } }

    /// Takes bytes, if they are left.
    func take(_ count: Int) -> Bool {
        used.withLockedValue { used in
            guard count <= limit - used else { return false }
            used += count
            return true
        }
    }

    /// Takes bytes, and waits until they are left.
    /// - Returns: false where `isWanted` is not so any more; nothing is taken then.
    /// - Throws: `CancellationError`.
    func take(_ count: Int, while isWanted: () -> Bool) async throws -> Bool {
        while !take(count) {
            guard isWanted() else { return false }
            try await Task.sleep(for: Self.interval)
        }
        return true
    }

    func giveBack(_ count: Int) { used.withLockedValue { $0 -= count } }
}
