import Glibc
import Testing

@testable import NBDServer

@Suite struct FailureCountsTests {
    private let start = ContinuousClock.now
    private let read = RequestFailure(kind: .read, error: EIO, mustBeFast: false)!
    private let write = RequestFailure(kind: .write, error: ENOSPC, mustBeFast: false)!

    @Test func theFirstFailureOfAKindIsReportedAtOnce() {
        var counts = FailureCounts()
        let first = counts.record(read, at: start)
        let other = counts.record(write, at: start)
        #expect(first == .init(failure: read, count: 1, isFirst: true))
        #expect(other == .init(failure: write, count: 1, isFirst: true))
        #expect(counts.nextReport == nil)
    }

    @Test func furtherFailuresAreReportedOnceAMinuteWithTheirCount() {
        var counts = FailureCounts()
        _ = counts.record(read, at: start)
        for second in 1..<60 {
            let report = counts.record(read, at: start + .seconds(second))
            #expect(report == nil)
        }
        #expect(counts.nextReport == start + .seconds(60))
        let report = counts.record(read, at: start + .seconds(60))
        #expect(report == .init(failure: read, count: 60, isFirst: false))
        let next = counts.record(read, at: start + .seconds(61))
        #expect(next == nil && counts.totals == [read: 62])
    }

    @Test func lateFailuresAreReportedWithoutAFurtherOne() {
        var counts = FailureCounts()
        for failure in [read, read, read, write] { _ = counts.record(failure, at: start) }
        let early = counts.overdue(at: start + .seconds(59))
        let due = counts.overdue(at: start + .seconds(60))
        let again = counts.overdue(at: start + .seconds(200))
        #expect(early.isEmpty && again.isEmpty && counts.nextReport == nil)
        #expect(due == [.init(failure: read, count: 2, isFirst: false)])
    }

    @Test func refusedFastZerosAndShutdownsAreNoFailures() {
        #expect(RequestFailure(kind: .writeZeroes, error: ENOTSUP, mustBeFast: true) == nil)
        #expect(RequestFailure(kind: .writeZeroes, error: ENOTSUP, mustBeFast: false) != nil)
        #expect(RequestFailure(kind: .read, error: ESHUTDOWN, mustBeFast: false) == nil)
        #expect(RequestFailure(kind: .read, error: 0, mustBeFast: false) == nil)
        #expect(RequestFailure(kind: .flush, error: 4095, mustBeFast: false)?.errorName == "errno 4095")
    }
}
