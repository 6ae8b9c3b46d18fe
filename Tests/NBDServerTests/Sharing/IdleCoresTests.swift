import Dispatch
import Foundation
import NIOConcurrencyHelpers
import TestSupport
import Testing

@testable import NBDServer

@Suite struct IdleCoresTests {
    private func ticks(_ text: String, _ cores: [Int]) -> UInt64 {
        var isCounted = [UInt8](repeating: 0, count: 16)
        for core in cores { isCounted[core] = 1 }
        return Array(text.utf8).withUnsafeBytes { IdleTime.ticks($0, of: isCounted) }
    }

    @Test("The lines of allowed cores -> their idle and waiting time; other lines do not count")
    func lines() {
        let text = """
            cpu  10 20 30 4000 500 0 0 0 0 0
            cpu0 1 2 3 100 10 0 0 0 0 0
            cpu1 1 2 3 200 20 0 0 0 0 0
            cpu12 1 2 3 400 40 0 0 0 0 0
            cpu99999999999999999999 1 2 3 400 40 0 0 0 0 0
            cpu3 1
            intr 5 6 7 8 9 10
            cpu1 1 2 3 1000 1000
            """
        #expect(ticks(text, [0, 12]) == 550)
        #expect(ticks(text, [1, 3]) == 220)
        #expect(ticks("", [0]) == 0)
        #expect(ticks("cpu0 1 2 3 100", [0]) == 0)
    }

    @Test("The first look, or one after a long time -> not known; within a period -> the same figure")
    func old() {
        let idle = IdleCores()
        #expect(idle.current(at: 5_000_000_000) == nil)
        let known = idle.current(at: 5_250_000_000)
        #expect(known != nil)
        #expect(known?.usable ?? 0 >= 1)
        #expect(idle.current(at: 5_400_000_000) == known)
        #expect(idle.current(at: 9_000_000_000) == nil)
    }

    private func sample(
        _ time: UInt64, idle: UInt64, used: UInt64 = 0, cores: Int = 16, quota: Int? = nil
    ) -> IdleCores.Sample {
        IdleCores.Sample(
            time: time, idle: idle, used: used, cores: Array(repeating: 1, count: cores), quota: quota)
    }

    @Test("A limit of control groups -> no more than what the process leaves of it counts as idle")
    func quota() {
        func state(_ quota: Int?) -> CoreState? {
            IdleCores.state(
                from: sample(1000, idle: 0), to: sample(2000, idle: 14_000, used: 1500, quota: quota))
        }
        #expect(state(nil) == CoreState(usable: 16_000, idle: 14_000))
        #expect(state(2000) == CoreState(usable: 2000, idle: 500))
        #expect(state(1000) == CoreState(usable: 1000, idle: 0))
        #expect(state(64_000) == CoreState(usable: 16_000, idle: 14_000))
    }

    @Test("A limit that changes while the process runs -> counts from the next look on")
    func changedLimit() {
        let limit = NIOLockedValueBox<Int?>(2000)
        let cores = [UInt8](repeating: 1, count: 16)
        let idle = IdleCores { now in
            IdleCores.Sample(time: now, idle: 16 * now, cores: cores, quota: limit.withLockedValue { $0 })
        }
        _ = idle.current(at: 5_000_000_000)
        #expect(idle.current(at: 5_250_000_000) == CoreState(usable: 2000, idle: 2000))
        limit.withLockedValue { $0 = 500 }
        #expect(idle.current(at: 5_500_000_000) == CoreState(usable: 500, idle: 500))
        limit.withLockedValue { $0 = nil }
        #expect(idle.current(at: 5_750_000_000) == CoreState(usable: 16_000, idle: 16_000))
    }

    @Test("A look that takes long -> other loops do not wait for it, and take the last figure while that is of use")
    func slowLook() async throws {
        let (began, mayEnd) = (DispatchSemaphore(value: 0), DispatchSemaphore(value: 0))
        let idle = IdleCores { now in
            if now == 5_500_000_000 {
                began.signal()
                // Nobody ends the look if the others wait for it.
                #expect(mayEnd.wait(timeout: .now() + 20) == .success, "the others wait")
            }
            return IdleCores.Sample(time: now, idle: now, cores: [1])
        }
        _ = idle.current(at: 5_000_000_000)
        let known = idle.current(at: 5_250_000_000)
        #expect(known == CoreState(usable: 1000, idle: 1000))
        async let slow = onThread { idle.current(at: 5_500_000_000) }
        let others = try await onThread {
            began.wait()
            defer { mayEnd.signal() }
            return [5_500_000_001, 6_250_000_000, 6_250_000_001].map { idle.current(at: $0) }
        }
        #expect(others == [known, known, nil])
        #expect(try await slow == known)
        #expect(idle.current(at: 5_500_000_002) == known)
    }

    @Test("A process that may use other cores than before -> not known")
    func otherCores() {
        // A year of idle time of 100 cores.
        let (old, new) = (sample(1000, idle: 0, cores: 1), sample(2000, idle: 3_200_000_000_000_000_000, cores: 101))
        #expect(IdleCores.state(from: old, to: new) == nil)
        #expect(IdleCores.state(from: new, to: sample(3000, idle: 0, cores: 1)) == nil)
        var other = old
        (other.time, other.cores) = (2000, [0, 1])
        #expect(IdleCores.state(from: old, to: other) == nil)
    }

    @Test("Figures that can't be right -> no more than all cores, and no less than none")
    func wrongFigures() {
        let old = sample(1000, idle: 500, used: 500)
        for time in [1001, UInt64.max] {
            let most = IdleCores.state(from: old, to: sample(time, idle: .max, used: .max, quota: 1000))
            #expect(most?.usable == 1000 && most?.idle == 0)
        }
        #expect(IdleCores.state(from: old, to: sample(1001, idle: .max))?.idle == 16_000)
        #expect(IdleCores.state(from: old, to: sample(1001, idle: 0))?.idle == 0)
        #expect(IdleCores.state(from: old, to: sample(1000, idle: 600)) == nil)
    }

    @Test("A thread that is bound to one core -> the process may use as many as before")
    func boundThread() async throws {
        let before = IdleCores.allowedCores()
        let core = try #require(before.firstIndex { $0 != 0 })
        let (task, isBound) = (NIOLockedValueBox<String?>(nil), DispatchSemaphore(value: 0))
        async let cores = onThread {
            let own = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/thread-self")
            task.withLockedValue { $0 = own }
            _ = isBound.wait(timeout: .now() + 60)
            return IdleCores.allowedCores()
        }
        try await eventually("the thread has no number") { task.withLockedValue { $0 != nil } }
        // The link is `PROCESS/task/THREAD`.
        let thread = task.withLockedValue { String($0!.split(separator: "/").last!) }
        let result = try await Command.run("taskset", ["-pc", "\(core)", thread])
        isBound.signal()
        #expect(result.status == 0, "\(result.errors)")
        #expect(try await cores == before)
    }

    @Test(
        "cpu.max -> thousandths of a core; nil where it sets no limit",
        arguments: [
            ("max 100000\n", nil), ("150000 100000\n", 1500), ("50000 100000\n", 500), ("", nil), ("1 0\n", nil),
            ("9223372036854775807 100000", nil),
        ] as [(String, Int?)])
    func limits(_ text: String, _ expected: Int?) {
        #expect(ControlGroupQuota.parse(text) == expected)
    }
}
