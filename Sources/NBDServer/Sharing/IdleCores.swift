import CLinux
import Glibc
import NIOConcurrencyHelpers
import Ring
import Synchronization

/// How many of the cores that this process may use have been idle lately, for all loops of a server.
///
/// `IdleTime` counts the idle time of the cores. If control groups limit the process to fewer cores, the part of that limit that
/// the process does not use counts. The figures are read at most once a period, whichever loop asks.
final class IdleCores: Sendable {
    /// The most cores that Linux supports.
    private static let mostCores = 8192
    /// Nanoseconds; an older look tells nothing about now.
    private static let longest = 4 * LoopLoad.period
    private static let nanosecondsPerTick = 1_000_000_000 / UInt64(sysconf(CInt(_SC_CLK_TCK)))

    /// A look at the clocks, all in nanoseconds.
    struct Sample {
        var time: UInt64 = 0
        /// The idle time of all cores that the process may use.
        var idle: UInt64 = 0
        /// The time for which this process ran.
        var used: UInt64 = 0
        /// 1 for each core that the process may use, by its number.
        var cores: [UInt8] = []
        /// Thousandths of a core that the control groups allow; nil if they set no limit.
        var quota: Int?
    }

    private struct State {
        var last = Sample()
        var result: CoreState?

        func age(at now: UInt64) -> UInt64 { now - min(now, last.time) }
    }

    private let state = NIOLockedValueBox(State())
    /// Whether a loop is taking a look. Only that one changes `state`.
    private let isLooking = Atomic<Bool>(false)
    private let look: @Sendable (UInt64) -> Sample?

    /// - Parameter look: takes a look at the clocks at a time; nil if they can't be read.
    init(look: @escaping @Sendable (UInt64) -> Sample? = IdleCores.sample) { self.look = look }

    /// Returns the cores at `now`, in nanoseconds of the monotonic clock; nil if it is not known yet how idle they are.
    func current(at now: UInt64) -> CoreState? {
        let known = state.withLockedValue { $0 }
        guard known.age(at: now) >= LoopLoad.period else { return known.result }
        // The file of a large host takes a while. The other loops do not wait for the one that reads it.
        guard isLooking.compareExchange(expected: false, desired: true, ordering: .acquiring).exchanged else {
            return known.age(at: now) > Self.longest ? nil : known.result
        }
        defer { isLooking.store(false, ordering: .releasing) }
        return update(at: now)
    }

    private func update(at now: UInt64) -> CoreState? {
        let known = state.withLockedValue { $0 }
        // Another loop may have looked in between.
        guard known.age(at: now) >= LoopLoad.period else { return known.result }
        guard let sample = look(now) else { return nil }
        let result = known.age(at: now) > Self.longest ? nil : Self.state(from: known.last, to: sample)
        state.withLockedValue { $0 = State(last: sample, result: result) }
        return result
    }

    /// Returns the cores between two looks; nil if they tell nothing, since the process may use other cores than before.
    static func state(from old: Sample, to new: Sample) -> CoreState? {
        // Idle time is counted from the start of the system on, so that a further core would bring days of it.
        guard new.time > old.time, new.cores == old.cores else { return nil }
        let usable = new.cores.count { $0 != 0 } * 1000
        let time = new.time - old.time
        let idle = part(from: old.idle, to: new.idle, of: time, limit: usable)
        guard let quota = new.quota else { return CoreState(usable: usable, idle: idle) }
        let used = part(from: old.used, to: new.used, of: time, limit: usable)
        return CoreState(usable: min(usable, quota), idle: min(idle, max(0, quota - used)))
    }

    /// Returns the growth of a clock in thousandths of `time`, 0 to `limit`.
    private static func part(from old: UInt64, to new: UInt64, of time: UInt64, limit: Int) -> Int {
        guard new > old else { return 0 }
        // No figure of the system may end the process, so that nothing here can overflow.
        return Int(min(Double(new - old) * 1000 / Double(time), Double(limit)))
    }

    private static func sample(at now: UInt64) -> Sample? {
        let cores = allowedCores()
        let ticks = SystemFile.read("/proc/stat", limit: IdleTime.limit) { $0.map { IdleTime.ticks($0, of: cores) } }
        guard let ticks else { return nil }
        var used = timespec()
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used)
        return Sample(
            time: now, idle: ticks &* nanosecondsPerTick,
            used: UInt64(used.tv_sec) * 1_000_000_000 + UInt64(used.tv_nsec), cores: cores,
            quota: ControlGroupQuota.current())
    }

    /// Returns 1 for each core that the process may use, by its number.
    static func allowedCores() -> [UInt8] {
        var cores = [UInt8](repeating: 0, count: mostCores)
        linux_allowed_cores(&cores, CInt(cores.count))
        return cores
    }
}
