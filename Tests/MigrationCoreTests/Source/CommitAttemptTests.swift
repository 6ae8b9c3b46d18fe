import Testing

@testable import MigrationCore

@Suite("A record that is there or is not")
struct CommitAttemptTests {
    @Test("A write that succeeds is there, and one that changed nothing is not")
    func certain() {
        var attempt = CommitAttempt()
        #expect(attempt.next == .write)
        #expect(attempt.ended(.confirmed) == .there)
        attempt = CommitAttempt()
        #expect(attempt.ended(.unchanged) == .gone)
        #expect(!attempt.isInDoubt)
    }

    @Test("In doubt, writing and removing take turns until one of both is confirmed")
    func doubt() {
        for confirmedAt in 1..<12 {
            var attempt = CommitAttempt()
            #expect(attempt.ended(.unknown) == .unknown(pauseMilliseconds: 0))
            var steps: [CommitAttempt.Step] = []
            var verdict = CommitAttempt.Verdict.unknown(pauseMilliseconds: 0)
            for turn in 1...confirmedAt {
                #expect(attempt.isInDoubt)
                steps.append(attempt.next)
                // A step that changes nothing leaves the doubt as it was.
                verdict = attempt.ended(turn == confirmedAt ? .confirmed : turn % 3 == 0 ? .unchanged : .unknown)
            }
            #expect(verdict == (steps.last == .write ? .there : .gone))
            #expect(!attempt.isInDoubt)
            #expect(steps.enumerated().allSatisfy { $0.element == ($0.offset % 2 == 0 ? .write : .erase) })
        }
    }

    @Test("What is withdrawn in doubt is only removed, and never comes to be there")
    func withdrawn() {
        for turns in 0..<4 {
            var attempt = CommitAttempt()
            _ = attempt.ended(.unknown)
            for _ in 0..<turns { _ = attempt.ended(.unknown) }
            attempt.withdraw()
            for _ in 0..<5 {
                #expect(attempt.next == .erase)
                guard case .unknown = attempt.ended(.unknown) else {
                    Issue.record("nothing is known yet")
                    return
                }
                guard case .unknown = attempt.ended(.unchanged) else {
                    Issue.record("nothing is known yet")
                    return
                }
            }
            #expect(attempt.ended(.confirmed) == .gone)
        }
    }

    @Test("The pause grows from nothing to five seconds")
    func pauses() {
        var attempt = CommitAttempt()
        let pauses = (0..<12).map { _ -> Int in
            if case .unknown(let pause) = attempt.ended(.unknown) { pause } else { -1 }
        }
        #expect(pauses == [0, 50, 100, 200, 400, 800, 1600, 3200, 5000, 5000, 5000, 5000])
    }
}
