import CLinux

/// Lets everything else on the machine go first.
public enum LowPriority {
    /// How far a thread stands back.
    public enum Degree: CInt, Sendable {
        /// Gets little of a busy machine, and yet goes on: what somebody waits for in the end.
        case some = 10
        /// Gets what others leave.
        case far = 19
    }

    /// From now on the calling thread, and those that it starts, let others have the processor and the disk first.
    public static func enter(_ degree: Degree = .far) {
        linux_give_way(degree.rawValue)
        // Whoever asks for less time at once may interrupt it; among equals the kernel waits for its next tick.
        linux_take_long_turns()
    }
}
