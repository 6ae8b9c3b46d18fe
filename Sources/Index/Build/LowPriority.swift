import CLinux

/// Lowers a thread's priority for processor and disk.
public enum LowPriority {
    /// Degrees of low priority, as nice values.
    public enum Degree: CInt, Sendable {
        /// Little of a busy machine, but enough to progress: for work whose end somebody awaits.
        case some = 10
        /// Only time that nothing else wants.
        case far = 19
    }

    /// Lowers the priority of the calling thread and of threads that it starts later.
    public static func enter(_ degree: Degree = .far) {
        linux_give_way(degree.rawValue)
        // A longer EEVDF slice lets tasks with shorter slices preempt this thread; among equal slices they wait for a
        // tick.
        linux_take_long_turns()
    }
}
