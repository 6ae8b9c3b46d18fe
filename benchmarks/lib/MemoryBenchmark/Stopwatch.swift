import Foundation

/// Adds up this thread's processor time by stage.
struct Stopwatch {
    enum Stage: String, CaseIterable {
        case pack, find, unpack, read, accept
    }

    private var sums: [Double] = Stage.allCases.map { _ in 0 }

    /// The sums in the order of the stages.
    var seconds: [(stage: Stage, seconds: Double)] { zip(Stage.allCases, sums).map { ($0, $1) } }

    mutating func add(_ stage: Stage, _ seconds: Double) {
        sums[Stage.allCases.firstIndex(of: stage)!] += seconds
    }

    mutating func time<Result>(_ stage: Stage, _ work: () throws -> Result) rethrows -> Result {
        let began = Self.now()
        defer { add(stage, Self.now() - began) }
        return try work()
    }

    /// Seconds of processor time of this thread.
    static func now() -> Double {
        var time = timespec()
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
    }
}
