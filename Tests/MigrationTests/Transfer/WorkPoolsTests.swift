import Glibc
import Testing

@testable import Migration

@Suite(.timeLimit(.minutes(10))) struct WorkPoolsTests {
    private func niceness() -> CInt { getpriority(__priority_which_t(PRIO_PROCESS.rawValue), 0) }

    /// Each of their threads, since all are busy at once.
    @Test func threadsForWhatIsDoneAheadGiveWay() async throws {
        let pools = WorkPools(threads: 3)
        for (pool, expected) in [(pools.background, CInt(10)), (pools.urgent, niceness())] {
            let found = try await withThrowingTaskGroup(of: CInt.self) { group in
                for _ in 0..<3 {
                    group.addTask {
                        try await pool.runIfActive {
                            usleep(100_000)
                            return niceness()
                        }
                    }
                }
                return try await group.reduce(into: []) { $0.append($1) }
            }
            #expect(found == [expected, expected, expected])
        }
        await pools.shutDown()
    }
}
