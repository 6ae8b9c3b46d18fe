/// Page-aligned buffers of one loop, in powers of two, under one limit for all of them together.
///
/// Not thread-safe: used on its loop's thread. `take` answers nil rather than go over the limit; who gets nil waits
/// in line with `whenAvailable` and is told in the order of asking, at the end of the batch that made room. What is given
/// back is kept for the next taker up to `kept` bytes, so that a steady load allocates nothing.
public final class BufferPool: RingHandler {
    private static let smallestShift = 12

    /// The most bytes that may be out at once.
    public let limit: Int
    /// Bytes out now.
    public private(set) var used = 0

    private unowned let loop: EventLoop
    private let kept: Int
    private var idleBytes = 0
    private var idle: [[UnsafeMutableRawPointer]]
    private var waiters: [Unmanaged<RingHandler>] = []
    private var awaitsBatchEnd = false

    /// - Parameters:
    ///   - loop: whose thread uses the pool.
    ///   - limit: the most bytes out at once; a single request of that size can always be served in time.
    ///   - kept: the most bytes kept while nobody uses them.
    public init(loop: EventLoop, limit: Int, kept: Int) {
        self.loop = loop
        self.limit = limit
        self.kept = kept
        idle = Array(repeating: [], count: Self.sizeClass(limit) + 1)
        super.init()
        for index in idle.indices {
            idle[index].reserveCapacity(min(1024, max(1, kept >> (index + Self.smallestShift))))
        }
    }

    deinit {
        for (sizeClass, list) in idle.enumerated() {
            for buffer in list { PageMemory.give(buffer, Self.size(ofClass: sizeClass)) }
        }
    }

    /// A buffer of at least `count` bytes, or nil where the limit forbids it now or others wait already.
    /// - Parameter count: 1 to `limit`.
    public func take(_ count: Int) -> UnsafeMutableRawPointer? {
        waiters.isEmpty ? takeAhead(count) : nil
    }

    /// As `take`, for somebody whose turn in the line it is.
    public func takeAhead(_ count: Int) -> UnsafeMutableRawPointer? {
        precondition(count > 0 && count <= limit)
        let size = Self.size(ofClass: Self.sizeClass(count))
        guard used + size <= limit || used == 0 else { return nil }
        used += size
        if let buffer = idle[Self.sizeClass(count)].popLast() {
            idleBytes -= size
            return buffer
        }
        guard let buffer = PageMemory.take(size) else {
            used -= size
            return nil
        }
        return buffer
    }

    /// Returns what `take(count)` gave, and tells the first in line.
    public func give(_ buffer: UnsafeMutableRawPointer, _ count: Int) {
        let sizeClass = Self.sizeClass(count)
        let size = Self.size(ofClass: sizeClass)
        used -= size
        assert(used >= 0)
        if idleBytes + size <= kept {
            idleBytes += size
            idle[sizeClass].append(buffer)
        } else {
            PageMemory.give(buffer, size)
        }
        guard !waiters.isEmpty, !awaitsBatchEnd else { return }
        awaitsBatchEnd = true
        loop.atBatchEnd(self)
    }

    /// Whether somebody waits in line.
    public var isShort: Bool { !waiters.isEmpty }

    /// Puts `waiter` at the end of the line; it is told once when it should try `takeAhead`.
    public func whenAvailable(_ waiter: RingHandler) {
        waiters.append(Unmanaged.passUnretained(waiter))
    }

    /// Takes `waiter` out of the line, where it stands there.
    public func forget(_ waiter: RingHandler) {
        waiters.removeAll { $0.toOpaque() == Unmanaged.passUnretained(waiter).toOpaque() }
    }

    /// Tells who waits, first come first served, until somebody still lacks room.
    override public func batchEnded() {
        awaitsBatchEnd = false
        while !waiters.isEmpty {
            let first = waiters.removeFirst()
            guard first._withUnsafeGuaranteedRef({ $0.bufferMayBeAvailable() }) else {
                return waiters.insert(first, at: 0)
            }
        }
    }

    private static func sizeClass(_ count: Int) -> Int {
        max(0, Int.bitWidth - (count - 1).leadingZeroBitCount - smallestShift)
    }

    private static func size(ofClass sizeClass: Int) -> Int {
        1 << (sizeClass + smallestShift)
    }
}
