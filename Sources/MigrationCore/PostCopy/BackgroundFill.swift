import BlockModel

/// Decides the order in which missing blocks are asked about and then brought, until nothing is missing.
///
/// A segment is a number of missing blocks, and all blocks between them. 1. Segments are *described*: the source says the
/// fingerprints of their missing blocks, well ahead. 2. Segments are *brought*: from blocks that are here already, or else from
/// the source. Both keep to a window, so that the link is busy and memory bounded. 3. Blocks that are still missing at the end,
/// because a fill failed, are gone over again. Blocks that are *wished for* come first, *ranked* ones next, and all others in the
/// order of the disk, *postponed* ones last. All of these are only an order: a block that fails in its turn comes with the others.
public struct BackgroundFill: Sendable {
    /// Work for the driver.
    public enum Action: Equatable, Sendable {
        /// Ask for the fingerprints of these runs of missing blocks, ascending; answers come in the order of the questions.
        case describe([Range<UInt64>])
        /// Bring the missing ones of these blocks, then call `brought`.
        case bring(Range<UInt64>)
    }

    /// The limits of one disk's background fill.
    public struct Limits: Sendable {
        /// The most missing blocks of a segment.
        public var segment: UInt64 = 1024
        /// Segments of full size that may be without a description at once, or as many blocks in smaller ones.
        public var describing = 16
        /// Segments of full size that may be on their way at once, or as many blocks in smaller ones.
        public var bringing = 8
        /// Smaller segments that may take the place of one of full size.
        public var partsOfSegment = 4
        /// Ranges that may be wished for at once.
        public var wishes = 64

        /// The limits for a real link.
        public init() {}
    }

    private struct Segment {
        /// The missing blocks when it was chosen; never empty.
        var runs: [Range<UInt64>] = []
        var count: UInt64 = 0

        var blocks: Range<UInt64> { runs.first!.lowerBound..<runs.last!.upperBound }
    }

    private let map: DurablePresentMap
    private let limits: Limits
    private var describing: [Segment] = []
    private var described: [Segment] = []
    private var bringing: [Segment] = []
    private var cursor: UInt64 = 0
    /// The next one last.
    private var wishes: [Range<UInt64>] = []
    /// The next one last.
    private var ranking: [Range<UInt64>] = []
    /// Ascending; no two touch.
    private var postponed: [Range<UInt64>] = []
    /// Whether postponed blocks have their turn.
    private var takesPostponed = false
    private var isUp = false
    /// The most blocks from the first of a segment to its last.
    private var span = UInt64.max

    /// A fill that waits for a link.
    public init(map: DurablePresentMap, limits: Limits = Limits()) {
        self.map = map
        self.limits = limits
    }

    /// Whether nothing is under way and nothing is missing.
    public var isDone: Bool { map.missing == 0 && bringing.isEmpty }

    /// Segments that are under way; bounded.
    public var openCount: Int { describing.count + described.count + bringing.count }

    private var open: some Sequence<Range<UInt64>> { [describing, described, bringing].joined().lazy.map(\.blocks) }

    /// The link is there; `next` chooses the first work.
    /// - Parameter span: the most blocks from the first of a question to its last.
    public mutating func linkFound(span: UInt64 = .max) {
        isUp = true
        self.span = span
    }

    /// These blocks come ahead of all others.
    public mutating func wish(for blocks: Range<UInt64>) {
        if wishes.last == blocks { return }
        wishes.append(blocks)
        if wishes.count > limits.wishes { wishes.removeFirst() }
    }

    /// These blocks come ahead of all that are not wished for, in this order, which replaces an earlier one.
    public mutating func rank(_ ranges: [Range<UInt64>]) { ranking = ranges.reversed() }

    /// These blocks come behind all others, and replace earlier ones. Of those that are wished for or ranked, it means nothing.
    public mutating func postpone(_ blocks: BlockSet) {
        postponed = Array(blocks)
        takesPostponed = postponed.isEmpty
        cursor = 0
    }

    /// The link is gone, and with it all answers.
    public mutating func linkLost() {
        isUp = false
        cursor = open.map(\.lowerBound).reduce(cursor, min)
        describing = []
        described = []
        bringing = []
    }

    /// The runs that the next answer describes; nil if no question is open.
    public var oldestQuestion: [Range<UInt64>]? { describing.first?.runs }

    /// The oldest question has been answered, and the fingerprints are recorded for whoever brings the blocks.
    public mutating func wasDescribed() {
        guard !describing.isEmpty else { return }
        described.append(describing.removeFirst())
    }

    /// All blocks of a segment that could be brought have been.
    public mutating func brought(_ blocks: Range<UInt64>) {
        guard let index = bringing.firstIndex(where: { $0.blocks == blocks }) else { return }
        bringing.remove(at: index)
    }

    /// Chooses the next work; to be called after every change.
    public mutating func next() -> [Action] {
        guard isUp else { return [] }
        var actions: [Action] = []
        while hasRoom(limits.bringing, bringing), !described.isEmpty {
            let segment = described.removeFirst()
            bringing.append(segment)
            actions.append(.bring(segment.blocks))
        }
        while hasRoom(limits.describing, describing + described), let segment = nextSegment() {
            describing.append(segment)
            actions.append(.describe(segment.runs))
        }
        return actions
    }

    private func hasRoom(_ window: Int, _ open: [Segment]) -> Bool {
        // More small segments are needed to keep the link busy.
        open.count < window * limits.partsOfSegment
            && open.reduce(0) { $0 + $1.count } < UInt64(window) * limits.segment
    }

    private mutating func nextSegment() -> Segment? { next(of: \.wishes) ?? next(of: \.ranking) ?? nextInOrder() }

    /// The missing blocks of the first range in a list that has any, without segments that are under way.
    private mutating func next(of list: WritableKeyPath<Self, [Range<UInt64>]>) -> Segment? {
        while let range = self[keyPath: list].popLast()?.clamped(to: 0..<map.geometry.blockCount) {
            guard let segment = freeSegment(in: range) else { continue }
            let end = segment.blocks.upperBound
            if end < range.upperBound { self[keyPath: list].append(end..<range.upperBound) }
            return segment
        }
        return nil
    }

    private mutating func nextInOrder() -> Segment? {
        let end = map.geometry.blockCount
        if cursor >= end {
            if !postponed.isEmpty, !takesPostponed {
                takesPostponed = true
            } else {
                // Round again, once all segments under way have come.
                guard openCount == 0, map.missing > 0 else { return nil }
            }
            cursor = 0
        }
        guard let segment = freeSegment(in: cursor..<end, without: takesPostponed ? [] : postponed) else {
            cursor = end
            let hasMore = !postponed.isEmpty && !takesPostponed || openCount == 0
            return hasMore && map.missing > 0 ? nextInOrder() : nil
        }
        cursor = segment.blocks.upperBound
        return segment
    }

    /// The first blocks of a range that are missing and not under way, ahead of or between the ascending runs `others`.
    private func freeSegment(in range: Range<UInt64>, without others: [Range<UInt64>] = []) -> Segment? {
        var position = range.lowerBound
        while position < range.upperBound, let start = map.firstMissing(in: position..<range.upperBound) {
            let other = Self.first(of: others, endingBehind: start)
            let isOther = other?.contains(start) == true
            guard let around = isOther ? other : open.first(where: { $0.contains(start) }) else {
                let next = open.lazy.map(\.lowerBound).filter { $0 > start }.min() ?? range.upperBound
                return segment(in: start..<min(next, other?.lowerBound ?? next, range.upperBound))
            }
            position = around.upperBound
        }
        return nil
    }

    /// By bisection.
    private static func first(of runs: [Range<UInt64>], endingBehind block: UInt64) -> Range<UInt64>? {
        var (low, high) = (0, runs.count)
        while low < high {
            let middle = (low + high) / 2
            if runs[middle].upperBound <= block { low = middle + 1 } else { high = middle }
        }
        return low < runs.count ? runs[low] : nil
    }

    /// The first missing blocks of a range, none of which is under way.
    private func segment(in range: Range<UInt64>) -> Segment? {
        var segment = Segment()
        var position = range.lowerBound
        let range = position..<position + min(span, UInt64(range.count))
        while segment.count < limits.segment, let run = map.nextMissing(in: position..<range.upperBound) {
            let end = min(run.upperBound, run.lowerBound + limits.segment - segment.count)
            segment.runs.append(run.lowerBound..<end)
            segment.count += end - run.lowerBound
            position = end
        }
        return segment.runs.isEmpty ? nil : segment
    }
}
