import NIOConcurrencyHelpers

/// One link's access to a budget that it shares with others. Waiters get bytes in the order in which they came.
final class BudgetTaker: Sendable {
    private let budget: ByteBudget
    private let isOver = NIOLockedValueBox(false)

    init(_ budget: ByteBudget) {
        self.budget = budget
    }

    /// Whether `close` has been called; any thread.
    var isClosed: Bool { isOver.withLockedValue { $0 } }

    /// Takes bytes, and waits until they are left and nothing has waited longer.
    /// - Parameter count: at most the budget's limit.
    /// - Returns: false once the link has ended; nothing is taken then.
    /// - Throws: `CancellationError`.
    func acquire(_ count: Int) async throws -> Bool { try await budget.acquire(count, for: self) }

    /// Gives back bytes that were taken.
    func giveBack(_ count: Int) { budget.giveBack(count) }

    /// Ends the waiting for a link that has ended.
    func close() {
        isOver.withLockedValue { $0 = true }
        budget.dismiss(self)
    }
}
