/// One loop as the others see it when they decide about sessions.
struct LoopState: Equatable {
    /// The part of the time for which its thread ran, in thousandths.
    var busy = 0
    /// Whether it has a client with long batches.
    var isLong = false
    /// Number of its sessions, idle ones included.
    var sessions = 0
    /// Whether requests wait there for buffers.
    var isShort = false
    /// Whether it has given or got sessions so recently that the other figures may be of before.
    var isResting = false

    /// Whether it may get sessions.
    var isOpen: Bool { !isShort && !isResting }
}
