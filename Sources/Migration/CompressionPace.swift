/// How hard the data stream is compressed: as hard as the link leaves time for, so that it is the link that limits a
/// migration and not the processor. Does nothing itself.
struct CompressionPace {
    /// zstd's levels, and what each costs against level 3, measured on blocks of virtual machines.
    static let levels: [(level: Int32, cost: Double)] = [(1, 0.6), (3, 1), (6, 2.4), (9, 3.5), (12, 6.4)]
    /// What a decision is made of, at first and later: more than the kernel takes without the link's having sent it, and
    /// seldom.
    private static let firstBytes: UInt64 = 4 << 20
    private static let laterBytes: UInt64 = 32 << 20
    /// A link that has not been waited for so far may only not have been full yet.
    private static let fillingBytes: UInt64 = 16 << 20
    /// The highest at first: a link that has just begun seems slower than it is.
    private static let firstHighest = 2
    /// Of the time that the link takes for a batch, what preparing the next may take at a level that it rises to. It stays
    /// at one that takes more, as long as the link is waited for: each change costs what the new frame does not know.
    private static let share = 0.75
    /// A link that is waited for less than this is not what limits.
    private static let idleShare = 0.05

    /// Bytes of blocks that level 3 takes a second where it has half a core to itself, and what they come to at most often.
    private static let speed = 140e6
    private static let ratio = 0.35

    private var position: Int
    private var isFirst = true
    private var bytes: UInt64 = 0
    private var reading = 0.0
    private var compressing = 0.0
    private var waiting = 0.0

    /// - Parameter bitsPerSecond: of the link, as far as it is known; nil where it is not.
    init(bitsPerSecond: UInt64? = nil) {
        position = 1
        guard let bitsPerSecond else { return }
        let needed = Double(bitsPerSecond) / 8 / Self.ratio
        position = max(1, Self.levels.lastIndex { Self.speed / $0.cost >= needed } ?? 1)
    }

    /// The level now.
    var level: Int32 { Self.levels[position].level }

    /// A batch has been sent.
    /// - Parameters:
    ///   - bytes: of blocks in it.
    ///   - reading: seconds for reading and hashing them, `compressing` for compressing them, and `waiting` for the link.
    /// - Returns: the level for what follows, where it is another one.
    mutating func note(bytes: UInt64, reading: Double, compressing: Double, waiting: Double) -> Int32? {
        self.bytes += bytes
        self.reading += reading
        self.compressing += compressing
        self.waiting += waiting
        guard self.bytes >= (isFirst ? Self.firstBytes : Self.laterBytes), !isFilling else { return nil }
        let best = isFirst ? min(bestPosition(), max(position, Self.firstHighest)) : bestPosition()
        (self.bytes, self.reading, self.compressing, self.waiting) = (0, 0, 0, 0)
        isFirst = false
        guard best != position else { return nil }
        position = best
        return Self.levels[best].level
    }

    private var isFilling: Bool { isFirst && !isWaitedFor && bytes < Self.fillingBytes }

    private var total: Double { reading + compressing + waiting }

    private var isWaitedFor: Bool { waiting > total * Self.idleShare }

    private func bestPosition() -> Int {
        guard isWaitedFor else { return max(0, position - 1) }
        let unit = compressing / Self.levels[position].cost
        let fitting = Self.levels.lastIndex { reading + unit * $0.cost <= total * Self.share }
        return max(fitting ?? 0, position)
    }
}
