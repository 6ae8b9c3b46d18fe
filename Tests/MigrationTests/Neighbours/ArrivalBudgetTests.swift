import Testing

@testable import Migration

@Suite("How long an arriving disk waits for other hosts")
struct ArrivalBudgetTests {
    private let start = ContinuousClock.now

    @Test("A host is waited for in vain -> some seconds in all; several -> not so long each")
    func spent() {
        var budget = ArrivalBudget()
        #expect(budget.step(for: "a") == .seconds(2) && budget.patience(for: "a", waiting: .seconds(2)) == .seconds(5))
        budget.wait(for: "a", from: start, to: start + .seconds(5))
        #expect(!budget.isOver("a") && budget.step(for: "a") == .zero && budget.patience(for: "a") == .seconds(1))
        budget.wait(for: "a", from: start + .seconds(5), to: start + .seconds(6))
        #expect(budget.isOver("a") && budget.patience(for: "a") == .zero && !budget.isOver("b"))
        #expect(budget.patience(for: "b", waiting: .seconds(2)) == .seconds(4), "of the ten of all hosts")
        budget.wait(for: "b", from: start + .seconds(6), to: start + .seconds(10))
        #expect(budget.isSpent && budget.isOver("b") && budget.isOver("never asked"))
        #expect(budget.patience(for: "never asked") == .zero && budget.step(for: "never asked") == .zero)
    }

    @Test("Several hosts are waited for at the same time -> it counts once for all of them, and for each")
    func together() {
        var budget = ArrivalBudget()
        for host in ["a", "b", "c"] { budget.wait(for: host, from: start, to: start + .seconds(5)) }
        #expect(!budget.isSpent && budget.patience(for: "c", waiting: .seconds(2)) == .seconds(1))
        #expect(budget.patience(for: "d", waiting: .seconds(2)) == .seconds(5))
    }

    @Test("Bytes come at the rate of a slow link -> it may take hours; slower -> over")
    func rate() {
        for (rate, isWorthIt) in [(300_000 as UInt64, true), (200_000, false)] {
            var budget = ArrivalBudget()
            for second in 0..<7200 where !budget.isOver("a") {
                budget.wait(for: "a", from: start + .seconds(second), to: start + .seconds(second + 1))
                budget.gave("a", bytes: rate, kept: 1, wrong: 0, missing: 0)
            }
            #expect(budget.isOver("a") != isWorthIt)
        }
    }

    @Test("One wrong block -> over; blocks that are not there any more -> only if they are most of what was claimed")
    func lies() {
        var budget = ArrivalBudget()
        budget.gave("liar", bytes: 1 << 30, kept: 10_000, wrong: 1, missing: 0)
        #expect(budget.isOver("liar") && !budget.isSpent)
        budget.gave("written", bytes: 4096, kept: 300, wrong: 0, missing: 299)
        #expect(!budget.isOver("written"))
        budget.gave("empty", bytes: 0, kept: 0, wrong: 0, missing: 255)
        #expect(!budget.isOver("empty"))
        budget.gave("empty", bytes: 0, kept: 0, wrong: 0, missing: 1)
        #expect(budget.isOver("empty"))
    }
}
