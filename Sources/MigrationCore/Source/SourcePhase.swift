extension SourceMachine {
    /// The progress of a migration, in one word, as `nearblock status` shows it.
    package enum Phase: String, Sendable {
        case connecting
        case copying
        /// For the switchover, or for the other disks.
        case waiting
        case fenced
        case moved
        case postCopy = "post-copy"
        /// An attempt is over, and another one follows.
        case reconnecting
    }
}
