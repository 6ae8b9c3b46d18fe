import Ring

/// The request buffers of one connection: the bytes that it holds, and its place in a share's line.
///
/// 1. `allocate` a buffer. If there is none, `wait` puts the session into the line of a share.
/// 2. In the line, `allocate` uses the session's turn. `didLeaveLine` or `leaveLine` ends the wait.
/// 3. `free` returns a buffer to the pool, and `didPassOn` gives it up to the queue of replies.
struct SessionBuffers {
    private unowned(unsafe) let pool: BufferPool
    /// Bytes of the buffers that requests in flight hold.
    private(set) var bytes = 0
    /// The share in whose line the session waits; nil if it waits in none.
    private(set) var line: Int?
    /// Whether the session has waited in `line` since `beginWatch`.
    private var waitsSinceWatch = false
    /// Whether the session has waited in `line` for so long that a large request should continue in small pieces.
    private(set) var hasWaitedLong = false

    init(pool: BufferPool) {
        self.pool = pool
    }

    /// The first share that a further buffer may come from.
    /// - Parameters:
    ///   - count: bytes of the buffer.
    ///   - unsent: bytes of buffers in the queue of replies.
    func share(for count: Int, unsent: Int) -> Int { BufferShare.first(holding: bytes + unsent + count) }

    /// Whether others wait in the line of `share`.
    func isAwaited(_ share: Int) -> Bool { pool.isShort(share) }

    /// Allocates a buffer; parameters as for `share`.
    /// - Returns: nil if there is none now.
    mutating func allocate(_ count: Int, unsent: Int) -> (buffer: UnsafeMutableRawPointer, share: Int)? {
        let allocated: (buffer: UnsafeMutableRawPointer, share: Int)?
        if let line {
            allocated = pool.allocateInTurn(count, from: line)
        } else {
            allocated = pool.allocate(count, from: share(for: count, unsent: unsent))
        }
        if allocated != nil { bytes += count }
        return allocated
    }

    /// Returns a buffer that was allocated with `count` bytes of `share`.
    mutating func free(_ buffer: UnsafeMutableRawPointer, _ count: Int, share: Int) {
        bytes -= count
        pool.free(buffer, count, share: share)
    }

    /// Gives up a buffer of `count` bytes that now belongs to the queue of replies.
    mutating func didPassOn(_ count: Int) { bytes -= count }

    /// Puts `session` into a line; parameters as for `share`.
    mutating func wait(_ session: Session, for count: Int, unsent: Int) {
        let share = share(for: count, unsent: unsent)
        line = share
        pool.whenAvailable(session, share: share)
    }

    /// Takes `session` out of its line.
    mutating func leaveLine(_ session: Session) {
        didLeaveLine()
        pool.forget(session)
    }

    /// Forgets the line that the session has left.
    mutating func didLeaveLine() {
        line = nil
        waitsSinceWatch = false
        hasWaitedLong = false
    }

    /// Begins to measure the wait.
    mutating func beginWatch() { waitsSinceWatch = line != nil }

    /// Sets `hasWaitedLong` if the session has waited since `beginWatch`.
    /// - Returns: whether it has.
    mutating func markLongWait() -> Bool {
        guard waitsSinceWatch, line != nil else { return false }
        hasWaitedLong = true
        return true
    }
}
