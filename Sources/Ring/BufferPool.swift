import Synchronization

/// Page-aligned buffers of one loop, in powers of two, under one limit for each share of them.
///
/// The pool is not thread-safe: use it on its loop's thread. `allocate` returns nil rather than exceed the limit. The
/// caller then waits in the share's line with `whenAvailable`. Waiters are told in order, at the end of the batch that
/// made room. Up to `kept` bytes of returned buffers stay allocated, so that a steady load allocates nothing.
///
/// Shares separate users that hold little from users that hold much. A user of an earlier share may also take from a
/// later share for which nobody waits; the opposite is not allowed. A waiter in a line may take from the same shares
/// as a newcomer to that line, and newcomers get nothing before it.
public final class BufferPool: RingHandler {
    private static let smallestShift = 12

    /// The most bytes that may be in use at once, of all shares.
    public let limit: Int
    /// Bytes in use now.
    public var used: Int { usedOfShares.reduce(0, +) }

    private let limits: [Int]
    private var usedOfShares: [Int]
    private var lines: [[Unmanaged<RingHandler>]]
    /// The number of handlers in all lines.
    private var waiting = 0
    private let shortage = Atomic<Bool>(false)
    /// The last share that got room since the lines were last served.
    private var lastWithRoom = 0

    private unowned let loop: EventLoop
    private let kept: Int
    private var idleBytes = 0
    private var idle: [[UnsafeMutableRawPointer]]
    private var awaitsBatchEnd = false

    /// Creates a pool with one share.
    /// - Parameters:
    ///   - loop: the loop whose thread uses the pool.
    ///   - limit: the most bytes in use at once; a single request of that size can always be served in time.
    ///   - kept: the most unused bytes that stay allocated.
    public convenience init(loop: EventLoop, limit: Int, kept: Int) {
        self.init(loop: loop, limits: [limit], kept: kept)
    }

    /// Creates a pool with one share for each limit.
    /// - Parameters:
    ///   - loop: the loop whose thread uses the pool.
    ///   - limits: the most bytes of each share in use at once; at least one share.
    ///   - kept: the most unused bytes that stay allocated.
    public init(loop: EventLoop, limits: [Int], kept: Int) {
        self.loop = loop
        self.limits = limits
        self.kept = kept
        limit = limits.reduce(0, +)
        usedOfShares = Array(repeating: 0, count: limits.count)
        lines = Array(repeating: [], count: limits.count)
        idle = Array(repeating: [], count: Self.sizeClass(limits.max()!) + 1)
        super.init()
        for index in idle.indices {
            idle[index].reserveCapacity(min(1024, max(1, kept >> (index + Self.smallestShift))))
        }
    }

    deinit {
        for (sizeClass, list) in idle.enumerated() {
            for buffer in list { PageMemory.free(buffer, Self.size(ofClass: sizeClass)) }
        }
    }

    /// Takes a buffer of at least `count` bytes from the first share, beginning with `first`, that has room and no
    /// line.
    /// - Parameter count: 1 to the limit of the share `first`.
    /// - Returns: the buffer and its share, for `free`; nil if there is no room now, or others wait in the line of
    ///   `first`.
    public func allocate(_ count: Int, from first: Int) -> (buffer: UnsafeMutableRawPointer, share: Int)? {
        lines[first].isEmpty ? allocateInTurn(count, from: first) : nil
    }

    /// As `allocate`, for the waiter at the head of the line of `first`.
    public func allocateInTurn(_ count: Int, from first: Int) -> (buffer: UnsafeMutableRawPointer, share: Int)? {
        precondition(count > 0 && count <= limits[first])
        if let buffer = allocateRoom(count, of: first) { return (buffer, first) }
        for share in first + 1..<limits.count where lines[share].isEmpty && count <= limits[share] {
            if let buffer = allocateRoom(count, of: share) { return (buffer, share) }
        }
        return nil
    }

    private func allocateRoom(_ count: Int, of share: Int) -> UnsafeMutableRawPointer? {
        let size = Self.size(ofClass: Self.sizeClass(count))
        guard usedOfShares[share] + size <= limits[share] || usedOfShares[share] == 0 else { return nil }
        usedOfShares[share] += size
        if let buffer = idle[Self.sizeClass(count)].popLast() {
            idleBytes -= size
            return buffer
        }
        guard let buffer = PageMemory.allocate(size) else {
            usedOfShares[share] -= size
            return nil
        }
        return buffer
    }

    /// Returns a buffer of `allocate(count)`, and tells the first in each line that may have it.
    /// - Parameter share: the share that the buffer was taken from.
    public func free(_ buffer: UnsafeMutableRawPointer, _ count: Int, share: Int = 0) {
        let sizeClass = Self.sizeClass(count)
        let size = Self.size(ofClass: sizeClass)
        usedOfShares[share] -= size
        assert(usedOfShares[share] >= 0)
        if idleBytes + size <= kept {
            idleBytes += size
            idle[sizeClass].append(buffer)
        } else {
            PageMemory.free(buffer, size)
        }
        if waiting > 0 { tellAtBatchEnd(roomIn: share) }
    }

    /// Whether a handler waits in any line.
    public var isShort: Bool { waiting > 0 }

    /// As `isShort`, for other threads. While a line is served, it tells what was before.
    public var isShortForOthers: Bool { shortage.load(ordering: .relaxed) }

    /// Whether a handler waits in the line of `share`.
    public func isShort(_ share: Int) -> Bool { !lines[share].isEmpty }

    /// Puts `waiter` at the end of a share's line; it is told once when it should try `allocateInTurn` from that share.
    public func whenAvailable(_ waiter: RingHandler, share: Int = 0) {
        lines[share].append(Unmanaged.passUnretained(waiter))
        waiting += 1
        tellOthers()
    }

    /// Removes `waiter` from the lines it stands in. The handlers behind it are told, since they may want less.
    public func forget(_ waiter: RingHandler) {
        for share in lines.indices {
            let count = lines[share].count
            lines[share].removeAll { $0.toOpaque() == Unmanaged.passUnretained(waiter).toOpaque() }
            guard lines[share].count < count else { continue }
            waiting -= count - lines[share].count
            tellOthers()
            if waiting > 0 { tellAtBatchEnd(roomIn: share) }
        }
    }

    private func tellOthers() { shortage.store(isShort, ordering: .relaxed) }

    /// Room in a share can serve its own line and those of earlier shares.
    private func tellAtBatchEnd(roomIn share: Int) {
        guard lines[...share].contains(where: { !$0.isEmpty }) else { return }
        lastWithRoom = max(lastWithRoom, share)
        guard !awaitsBatchEnd else { return }
        awaitsBatchEnd = true
        loop.atBatchEnd(self)
    }

    /// Serves each line in order until its first waiter still lacks room. The last line is served first: once it is
    /// empty, earlier lines may use its share.
    override public func batchEnded() {
        awaitsBatchEnd = false
        let last = lastWithRoom
        lastWithRoom = 0
        for share in (0...last).reversed() { serveLine(share) }
        tellOthers()
    }

    private func serveLine(_ share: Int) {
        while !lines[share].isEmpty {
            let first = lines[share].removeFirst()
            waiting -= 1
            guard first._withUnsafeGuaranteedRef({ $0.bufferMayBeAvailable() }) else {
                waiting += 1
                return lines[share].insert(first, at: 0)
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
