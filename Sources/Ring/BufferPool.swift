/// Page-aligned buffers of one loop, in powers of two, under one limit for each share of them.
///
/// Not thread-safe: used on its loop's thread. `take` answers nil rather than go over the limit; who gets nil waits
/// in the share's line with `whenAvailable` and is told in the order of asking, at the end of the batch that made room.
/// What is given back is kept for the next taker up to `kept` bytes, so that a steady load allocates nothing.
///
/// Shares keep takers of little apart from those of much: a taker of the first may also have room that no taker of a
/// later one waits for, and not the other way round.
public final class BufferPool: RingHandler {
    private static let smallestShift = 12

    /// The most bytes that may be out at once, of all shares.
    public let limit: Int
    /// Bytes out now.
    public var used: Int { usedOfShares.reduce(0, +) }

    private let limits: [Int]
    private var usedOfShares: [Int]
    private var lines: [[Unmanaged<RingHandler>]]

    private unowned let loop: EventLoop
    private let kept: Int
    private var idleBytes = 0
    private var idle: [[UnsafeMutableRawPointer]]
    private var awaitsBatchEnd = false

    /// - Parameters:
    ///   - loop: whose thread uses the pool.
    ///   - limit: the most bytes out at once; a single request of that size can always be served in time.
    ///   - kept: the most bytes kept while nobody uses them.
    public convenience init(loop: EventLoop, limit: Int, kept: Int) {
        self.init(loop: loop, limits: [limit], kept: kept)
    }

    /// - Parameters:
    ///   - loop: whose thread uses the pool.
    ///   - limits: the most bytes out at once of each share, at least one.
    ///   - kept: the most bytes kept while nobody uses them.
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
            for buffer in list { PageMemory.give(buffer, Self.size(ofClass: sizeClass)) }
        }
    }

    /// A buffer of at least `count` bytes, or nil where the limit forbids it now or others wait already.
    /// - Parameter count: 1 to `limit`.
    public func take(_ count: Int) -> UnsafeMutableRawPointer? {
        lines[0].isEmpty ? takeAhead(count) : nil
    }

    /// As `take`, for somebody whose turn in the line it is.
    /// - Parameter share: whose room it is, and whose line.
    public func takeAhead(_ count: Int, share: Int = 0) -> UnsafeMutableRawPointer? {
        precondition(count > 0 && count <= limits[share])
        let size = Self.size(ofClass: Self.sizeClass(count))
        guard usedOfShares[share] + size <= limits[share] || usedOfShares[share] == 0 else { return nil }
        usedOfShares[share] += size
        if let buffer = idle[Self.sizeClass(count)].popLast() {
            idleBytes -= size
            return buffer
        }
        guard let buffer = PageMemory.take(size) else {
            usedOfShares[share] -= size
            return nil
        }
        return buffer
    }

    /// As `take`, from the first share that has room and no line, beginning with `first`.
    /// - Returns: also the share, for `give`.
    public func take(_ count: Int, from first: Int) -> (buffer: UnsafeMutableRawPointer, share: Int)? {
        for share in first..<limits.count where lines[share].isEmpty && count <= limits[share] {
            if let buffer = takeAhead(count, share: share) { return (buffer, share) }
        }
        return nil
    }

    /// Returns what `take(count)` gave, and tells the first in line.
    /// - Parameter share: of which it was taken.
    public func give(_ buffer: UnsafeMutableRawPointer, _ count: Int, share: Int = 0) {
        let sizeClass = Self.sizeClass(count)
        let size = Self.size(ofClass: sizeClass)
        usedOfShares[share] -= size
        assert(usedOfShares[share] >= 0)
        if idleBytes + size <= kept {
            idleBytes += size
            idle[sizeClass].append(buffer)
        } else {
            PageMemory.give(buffer, size)
        }
        if !lines[share].isEmpty { tellAtBatchEnd() }
    }

    /// Whether somebody waits in line.
    public var isShort: Bool { lines.contains { !$0.isEmpty } }

    /// Puts `waiter` at the end of a share's line; it is told once when it should try `takeAhead`.
    public func whenAvailable(_ waiter: RingHandler, share: Int = 0) {
        lines[share].append(Unmanaged.passUnretained(waiter))
    }

    /// Takes `waiter` out of the line, where it stands there. Those behind it may want less.
    public func forget(_ waiter: RingHandler) {
        for share in lines.indices {
            lines[share].removeAll { $0.toOpaque() == Unmanaged.passUnretained(waiter).toOpaque() }
        }
        if isShort { tellAtBatchEnd() }
    }

    private func tellAtBatchEnd() {
        guard !awaitsBatchEnd else { return }
        awaitsBatchEnd = true
        loop.atBatchEnd(self)
    }

    /// Tells who waits, first come first served in each share, until somebody there still lacks room.
    override public func batchEnded() {
        awaitsBatchEnd = false
        for share in lines.indices { serveLine(share) }
    }

    private func serveLine(_ share: Int) {
        while !lines[share].isEmpty {
            let first = lines[share].removeFirst()
            guard first._withUnsafeGuaranteedRef({ $0.bufferMayBeAvailable() }) else {
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
