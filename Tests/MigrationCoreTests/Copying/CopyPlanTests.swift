import TestSupport
import Testing

@testable import MigrationCore

@Suite("Which blocks a round goes over", .timeLimit(.minutes(10)))
struct CopyPlanTests {
    private func left(_ settled: UInt64, hot: UInt64, fits: Bool = false) -> SourceMachine.Situation {
        SourceMachine.Situation(
            expectedPause: fits ? 0.1 : Double(settled + hot), maximumPause: 0.2, dirty: settled + hot,
            settled: settled)
    }

    @Test("Hot blocks are left for later as long as half of what is left is not hot")
    func hotLast() {
        var plan = CopyPlan()
        let rounds: [(UInt64, CopyPlan.Scope)] = [(1000, .settled), (400, .settled), (120, .settled), (40, .all)]
        for (settled, scope) in rounds {
            let found = plan.towardsEnd(left(settled, hot: 100))
            #expect(found == scope)
        }
    }

    @Test("Rounds that bring the end no nearer are counted, whatever they go over")
    func patience() {
        var plan = CopyPlan()
        var found: [CopyPlan.Scope?] = []
        for (settled, hot) in [(80, 20), (20, 80), (20, 20), (10, 30), (12, 12)] as [(UInt64, UInt64)] {
            found.append(plan.towardsEnd(left(settled, hot: hot)))
        }
        #expect(found == [.settled, .all, .settled, .all, nil])
    }

    @Test("Round trips, which no round makes shorter, don't count")
    func roundTrips() {
        var plan = CopyPlan()
        for sending in [0.2, 0.09, 0.04] {
            let next = plan.towardsEnd(
                SourceMachine.Situation(
                    expectedPause: 0.4 + sending, maximumPause: 0.43, leastPause: 0.4, dirty: 9, settled: 9))
            #expect(next == .settled && plan.bringsNearer)
        }
    }

    /// A guest that rewrites the same blocks all the time while nobody asks for the disk.
    @Test("While nobody asks, hot blocks are sent ever more rarely, others as ever", arguments: [true, false])
    func everMoreRarely(_ fits: Bool) {
        var plan = CopyPlan()
        var scopes: [CopyPlan.Scope?] = []
        for step in 0..<4000 {
            let settled: UInt64 = step % 10 == 9 ? 1 : 0
            scopes.append(plan.whileNobodyAsks(left(settled, hot: 50, fits: fits)))
        }
        let all = scopes.indices.filter { scopes[$0] == .all }
        // Doubling to 256 waits and then at that.
        #expect((8...30).contains(all.count))
        let gaps = zip(all.dropFirst(), all).map(-)
        #expect(gaps.max()! >= 256 && gaps.first! <= 8)
        #expect(scopes.count { $0 == .settled } > 300)
    }

    @Test("A disk that is whole is waited with, and one that would fit is looked at only now and then")
    func waits() {
        var plan = CopyPlan()
        var found: [CopyPlan.Scope?] = []
        found.append(plan.whileNobodyAsks(left(0, hot: 0, fits: true)))
        found.append(plan.whileNobodyAsks(left(5, hot: 0, fits: true)))
        found.append(plan.whileNobodyAsks(left(5, hot: 0, fits: true)))
        found.append(plan.whileNobodyAsks(left(5, hot: 0, fits: true)))
        found.append(plan.whileNobodyAsks(left(500, hot: 0)))
        found.append(plan.whileNobodyAsks(left(500, hot: 0)))
        #expect(found == [nil, .settled, nil, .settled, .settled, .settled])
    }
}
