import TestSupport
import Testing

@testable import Migration

@Suite("Bytes that links share", .timeLimit(.minutes(10)))
struct ByteBudgetTests {
    /// Asks for bytes, and returns once that stands in line.
    private func ask(_ count: Int, _ budget: ByteBudget, _ taker: BudgetTaker) async throws -> Task<Bool, any Error> {
        let before = budget.waiting
        let task = Task { try await taker.acquire(count) }
        try await waitUntil("it waits") { budget.waiting == before + 1 }
        return task
    }

    @Test("A budget gives out no more than it has")
    func limit() async throws {
        let budget = ByteBudget(100)
        let taker = BudgetTaker(budget)
        #expect(budget.acquire(60) && !budget.acquire(41) && budget.acquire(40))
        budget.giveBack(60)
        #expect(try await taker.acquire(60))
        #expect(budget.taken == 100)
    }

    @Test("Whoever waits for much is served before those who come later and want little")
    func order() async throws {
        let budget = ByteBudget(100)
        let (large, small) = (BudgetTaker(budget), BudgetTaker(budget))
        #expect(budget.acquire(50) && budget.acquire(50))
        let much = try await ask(80, budget, large)
        let little = try await ask(10, budget, small)
        budget.giveBack(50)
        #expect(!budget.acquire(1), "a newcomer gets what was given back")
        #expect(budget.waiting == 2 && budget.taken == 50)
        budget.giveBack(50)
        #expect(try await much.value)
        #expect(try await little.value)
        #expect(budget.taken == 90)
    }

    @Test("Whoever ends while it waits gets nothing, and those behind it go on")
    func closed() async throws {
        let budget = ByteBudget(100)
        let (large, small) = (BudgetTaker(budget), BudgetTaker(budget))
        #expect(budget.acquire(50))
        let much = try await ask(80, budget, large)
        let little = try await ask(10, budget, small)
        large.close()
        #expect(try await !much.value)
        #expect(try await little.value)
        #expect(try await !large.acquire(1))
        #expect(budget.taken == 60 && budget.waiting == 0)
    }

    @Test("A task that is cancelled while it waits gets nothing, and those behind it go on")
    func cancelled() async throws {
        let budget = ByteBudget(100)
        let taker = BudgetTaker(budget)
        #expect(budget.acquire(50))
        let much = try await ask(80, budget, taker)
        let little = try await ask(10, budget, taker)
        much.cancel()
        await #expect(throws: CancellationError.self) { try await much.value }
        #expect(try await little.value)
        #expect(budget.taken == 60 && budget.waiting == 0)
    }
}
