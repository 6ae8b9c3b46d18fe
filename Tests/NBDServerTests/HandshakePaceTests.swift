import Testing

@testable import NBDServer

@Suite struct HandshakePaceTests {
    /// The results of `hasStalled`, one for each interval.
    private func verdicts(_ seen: [(options: Int, portions: Int)]) -> [Bool] {
        var pace = HandshakePace()
        return seen.map { pace.hasStalled(options: $0.options, portions: $0.portions) }
    }

    @Test func aClientWithoutProgressHasStalledAfterTwoIntervals() {
        #expect(verdicts([(0, 1), (0, 1)]) == [false, true])
    }

    @Test func aSteadyListerNeverStalls() {
        #expect(!verdicts((1...1000).map { ($0 * 8, 1) }).contains(true))
    }

    @Test func aLongListThatIsReadSlowlyNeverStalls() {
        #expect(!verdicts((1...1000).map { (1, $0 * 8) }).contains(true))
    }

    @Test func anOptionNowAndThenCountsAsStalled() {
        #expect(verdicts([(3, 3), (6, 6)]) == [false, true])
    }

    @Test func aClientThatCatchesUpHasNotStalled() {
        #expect(verdicts([(1, 1), (9, 9), (9, 9), (9, 9)]) == [false, false, false, true])
    }
}
