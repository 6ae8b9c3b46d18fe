/// How hard the data stream is compressed: as hard as the link leaves time for, so that it is the link that limits a
/// migration and not the processor. Does nothing itself.
///
/// What it goes by is an average over much of what was sent: stretches that hardly shrink, and others that shrink to
/// nothing, follow each other, and each change of the level costs what the new frame does not know.
struct CompressionPace {
    /// zstd's levels, and what each costs against level 3, measured on blocks of virtual machines with a window of 128 MiB.
    static let levels: [(level: Int32, cost: Double)] = [(1, 0.53), (3, 1), (6, 1.6), (8, 2.3), (10, 3.4), (12, 6.4)]
    /// What a decision is made of, at first and later: bytes of blocks.
    private static let firstBytes: UInt64 = 4 << 20
    private static let laterBytes: UInt64 = 16 << 20
    /// What came before counts half as much after so many bytes of blocks.
    private static let memory: UInt64 = 128 << 20
    /// The highest at first: a link that has just begun seems slower than it is.
    private static let firstHighest = 2
    /// Of the time that the link takes, what compressing may take at a level that it rises to, and at one that it stays at.
    private static let risingShare = 0.8
    private static let stayingShare = 1.0
    /// The link may have become slower since: so much of the rate that it once had is believed at the next decision.
    private static let belief = 0.9

    /// What is expected as long as little was sent, which counts as if so many bytes of blocks had been: bytes of blocks that
    /// level 3 takes a second where it has half a core to itself and that are read and hashed in one, and what they come to.
    private static let expected = 64e6
    private static let speed = 80e6
    private static let readingSpeed = 500e6
    private static let ratio = 0.35

    private var position: Int
    private var isFirst = true
    private var pending: UInt64 = 0
    /// Of late: bytes that blocks came to, and seconds for reading and hashing them, and for compressing them if that had been
    /// at level 3.
    private var sent = expected * ratio
    private var reading = expected / readingSpeed
    private var work = expected / speed
    private var bytesPerSecond = 0.0

    /// - Parameter bitsPerSecond: of the link, as far as it is known; nil where it is not.
    init(bitsPerSecond: UInt64? = nil) {
        position = 1
        guard let bitsPerSecond else { return }
        position = max(1, fitting(sent * 8 / Double(bitsPerSecond), upTo: Self.levels.count - 1))
    }

    /// The level now.
    var level: Int32 { Self.levels[position].level }

    /// Whether enough was sent since the last decision for the next one.
    var isDue: Bool { pending >= (isFirst ? Self.firstBytes : Self.laterBytes) }

    /// A batch has been compressed.
    /// - Parameters:
    ///   - bytes: of blocks in it.
    ///   - sent: bytes that they came to.
    ///   - reading: seconds for reading and hashing them.
    ///   - compressing: seconds.
    mutating func note(bytes: UInt64, sent: UInt64, reading: Double, compressing: Double) {
        pending += bytes
        self.sent += Double(sent)
        self.reading += reading
        work += compressing / Self.levels[position].cost
    }

    /// Decides anew.
    /// - Parameter bytesPerSecond: what the link has carried of late; nil for a link that is never waited for.
    /// - Returns: the level for what follows, where it is another one.
    mutating func decide(bytesPerSecond rate: Double?) -> Int32? {
        let best = best(on: rate)
        let weight = max(0, 1 - Double(pending) / Double(Self.memory) / 2)
        sent *= weight
        reading *= weight
        work *= weight
        pending = 0
        isFirst = false
        guard best != position else { return nil }
        position = best
        return Self.levels[best].level
    }

    private mutating func best(on rate: Double?) -> Int {
        guard let rate else { return 0 }
        bytesPerSecond = max(bytesPerSecond * Self.belief, rate)
        // Nothing has arrived yet.
        guard bytesPerSecond > 0 else { return position }
        let onLink = sent / bytesPerSecond
        let best = fitting(onLink, upTo: isFirst ? max(position, Self.firstHighest) : Self.levels.count - 1)
        return best < position && seconds(at: position) <= onLink * Self.stayingShare ? position : best
    }

    private func fitting(_ onLink: Double, upTo highest: Int) -> Int {
        (0...highest).last { seconds(at: $0) <= onLink * Self.risingShare } ?? 0
    }

    private func seconds(at position: Int) -> Double { reading + work * Self.levels[position].cost }
}
