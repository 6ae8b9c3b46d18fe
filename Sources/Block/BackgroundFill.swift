/// Goes over what is missing of a disk until nothing is: says what to ask the source about, and which blocks to bring
/// next; does nothing itself.
///
/// 1. Segments are *described*: the source says their fingerprints, well ahead of 2. their being *brought*: from what
/// stands here already where it can, otherwise from the source. Both keep to a window, so that the link is busy and
/// memory bounded. 3. What is still missing at the end, because a fill failed, is gone over again. It goes over the disk from
/// its beginning, but for what is *wished for*, which comes first, and what is *ranked*, which comes next. Both are only an
/// order: what is not there in its turn comes with the rest.
public struct BackgroundFill: Sendable {
    /// What is to be done now.
    public enum Action: Equatable, Sendable {
        /// Ask for the fingerprints of these blocks; answers come in the order of the questions.
        case describe(Range<UInt64>)
        /// Bring what is missing of these blocks, then say `brought`.
        case bring(Range<UInt64>)
    }

    /// The limits of one disk's background fill.
    public struct Limits: Sendable {
        /// Blocks of a segment.
        public var segment: UInt64 = 1024
        /// Segments, or as many missing blocks of others, that may be without a description at once.
        public var describing = 16
        /// Segments, or as many missing blocks of others, that may be on their way at once.
        public var bringing = 8
        /// Smaller ones, or such of which less is missing, that may be in the place of a segment.
        public var partsOfSegment = 4
        /// Ranges that may be wished for at once.
        public var wishes = 64

        /// Those for a real link.
        public init() {}
    }

    private let map: DurablePresentMap
    private let limits: Limits
    private var describing: [Range<UInt64>] = []
    private var described: [Range<UInt64>] = []
    private var bringing: [Range<UInt64>] = []
    private var cursor: UInt64 = 0
    /// The next one last.
    private var wishes: [Range<UInt64>] = []
    /// The next one last.
    private var ranking: [Range<UInt64>] = []
    private var isUp = false

    /// A fill that waits for a link.
    public init(map: DurablePresentMap, limits: Limits = Limits()) {
        self.map = map
        self.limits = limits
    }

    /// Whether nothing is under way and nothing is missing.
    public var isDone: Bool { map.missing == 0 && bringing.isEmpty }

    /// Segments that something is known or asked of; bounded.
    public var openCount: Int { describing.count + described.count + bringing.count }

    private var open: some Sequence<Range<UInt64>> { [describing, described, bringing].joined() }

    /// The link is there.
    public mutating func linkFound() -> [Action] {
        isUp = true
        return next()
    }

    /// These blocks are to come ahead of all others.
    public mutating func wish(for blocks: Range<UInt64>) {
        if wishes.last == blocks { return }
        wishes.append(blocks)
        if wishes.count > limits.wishes { wishes.removeFirst() }
    }

    /// These blocks are to come ahead of others that nobody has wished for, in this order, which replaces an earlier one.
    public mutating func rank(_ ranges: [Range<UInt64>]) { ranking = ranges.reversed() }

    /// The link is gone, and with it what was asked for.
    public mutating func linkLost() {
        isUp = false
        cursor = open.map(\.lowerBound).reduce(cursor, min)
        describing = []
        described = []
        bringing = []
    }

    /// What the next answer describes; nil where nobody asked.
    public var oldestQuestion: Range<UInt64>? { describing.first }

    /// The oldest question has been answered, and what was said is known to whoever brings blocks.
    public mutating func wasDescribed() {
        guard !describing.isEmpty else { return }
        described.append(describing.removeFirst())
    }

    /// All that can be had of a segment has been dealt with.
    public mutating func brought(_ blocks: Range<UInt64>) {
        guard let index = bringing.firstIndex(of: blocks) else { return }
        bringing.remove(at: index)
    }

    /// What to do next; to be asked after every change.
    public mutating func next() -> [Action] {
        guard isUp else { return [] }
        var actions: [Action] = []
        while hasRoom(limits.bringing, bringing), !described.isEmpty {
            let segment = described.removeFirst()
            bringing.append(segment)
            actions.append(.bring(segment))
        }
        while hasRoom(limits.describing, describing + described), let segment = nextSegment() {
            describing.append(segment)
            actions.append(.describe(segment))
        }
        return actions
    }

    private func hasRoom(_ window: Int, _ open: [Range<UInt64>]) -> Bool {
        // Of segments of which hardly anything is missing more are needed to keep the link busy.
        open.count < window * limits.partsOfSegment
            && open.reduce(0) { $0 + missing(in: $1) } < UInt64(window) * limits.segment
    }

    private func missing(in blocks: Range<UInt64>) -> UInt64 {
        map.missingRuns(in: blocks).reduce(0) { $0 + UInt64($1.count) }
    }

    private mutating func nextSegment() -> Range<UInt64>? { next(of: \.wishes) ?? next(of: \.ranking) ?? nextInOrder() }

    /// What is missing of the first range in a list that has any, without what is under way.
    private mutating func next(of list: WritableKeyPath<Self, [Range<UInt64>]>) -> Range<UInt64>? {
        while let range = self[keyPath: list].popLast()?.clamped(to: 0..<map.geometry.blockCount) {
            guard let segment = freeSegment(in: range) else { continue }
            if segment.upperBound < range.upperBound {
                self[keyPath: list].append(segment.upperBound..<range.upperBound)
            }
            return segment
        }
        return nil
    }

    private mutating func nextInOrder() -> Range<UInt64>? {
        let end = map.geometry.blockCount
        if cursor >= end {
            // Round again, once what is on its way has come.
            guard openCount == 0, map.missing > 0 else { return nil }
            cursor = 0
        }
        guard let segment = freeSegment(in: cursor..<end) else {
            cursor = end
            return openCount == 0 && map.missing > 0 ? nextInOrder() : nil
        }
        cursor = segment.upperBound
        return segment
    }

    /// The first blocks of a range that are missing and not under way, to the end of their segment at most.
    private func freeSegment(in range: Range<UInt64>) -> Range<UInt64>? {
        var position = range.lowerBound
        while position < range.upperBound, let start = map.firstMissing(in: position..<range.upperBound) {
            let end = min(range.upperBound, (start / limits.segment + 1) * limits.segment)
            let open = open.filter { $0.overlaps(start..<end) }
            guard let around = open.first(where: { $0.contains(start) }) else {
                return start..<(open.map(\.lowerBound).min() ?? end)
            }
            position = around.upperBound
        }
        return nil
    }
}
