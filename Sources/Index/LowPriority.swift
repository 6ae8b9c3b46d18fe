import CLinux

/// Lets everything else on the machine go first.
public enum LowPriority {
    /// From now on the calling thread, and those that it starts, get the processor and the disk when others leave them.
    public static func enter() { linux_give_way() }
}
