import func Glibc.exp
import func Glibc.exp2

/// How hard the data stream is compressed: as hard as the link leaves time for, so that it is the link that limits a
/// migration and not the processor. Does nothing itself.
///
/// It rises only after the link has been waited for all the time for a while, to a level for which there is time on the average
/// of much of what was sent: stretches that hardly shrink, and others that shrink to nothing, follow each other, and each
/// change costs what the new frame does not know, some 80 KiB of the 160 MiB that a disk of 700 MiB came to. It falls when the
/// link has had nothing to do for a while, or soon would.
package struct CompressionPace {
    /// What a batch of blocks came to.
    package struct Batch {
        /// Bytes of blocks that were compressed.
        package var bytes: UInt64 = 0
        /// Bytes that they came to, at this level.
        package var sent: UInt64 = 0
        package var level: Int32
        package var work = Work()

        package init(bytes: UInt64 = 0, sent: UInt64 = 0, level: Int32, work: Work = Work()) {
            self.bytes = bytes
            self.sent = sent
            self.level = level
            self.work = work
        }
    }

    /// What preparing blocks took.
    package struct Work {
        /// Bytes of blocks.
        package var bytes: UInt64 = 0
        /// Seconds for reading and hashing them, and for compressing them.
        package var reading = 0.0
        package var compressing = 0.0
        /// Seconds for both, with what other work has taken meanwhile.
        package var elapsed = 0.0

        package init(bytes: UInt64 = 0, reading: Double = 0.0, compressing: Double = 0.0, elapsed: Double = 0.0) {
            self.bytes = bytes
            self.reading = reading
            self.compressing = compressing
            self.elapsed = elapsed
        }
    }

    /// What the link had to do with a batch.
    package struct Sending {
        /// Bytes of its blocks, and what they came to.
        package var bytes: UInt64 = 0
        package var sent: UInt64 = 0
        /// Seconds for which the link had something to do, and with those for which it had nothing.
        package var waiting = 0.0
        package var elapsed = 0.0
        /// What the link was seen to carry.
        package var stretch = LinkUse.Stretch()
        /// How much of what may wait behind it does; nil where nothing may.
        package var ahead: Double?

        package init(
            bytes: UInt64 = 0, sent: UInt64 = 0, waiting: Double = 0.0, elapsed: Double = 0.0,
            stretch: LinkUse.Stretch = LinkUse.Stretch(), ahead: Double? = nil
        ) {
            self.bytes = bytes
            self.sent = sent
            self.waiting = waiting
            self.elapsed = elapsed
            self.stretch = stretch
            self.ahead = ahead
        }

        /// Bytes a second.
        package var rate: Double { Double(sent) / max(elapsed, 1e-6) }
    }

    /// zstd's levels, and what each costs against level 3, measured on blocks of virtual machines with a window of 128 MiB.
    package static let levels: [(level: Int32, cost: Double)] = [
        (1, 0.7), (3, 1), (6, 2.1), (8, 3), (9, 3.4), (10, 5), (12, 9.5),
    ]
    /// What a decision is made of: bytes of blocks.
    private static let enoughBytes: UInt64 = 8 << 20
    /// What preparing blocks took counts half as much after so many bytes of blocks; and what they came to, as a disk has
    /// long stretches of one kind.
    private static let memory = 24e6
    private static let longMemory = 512e6
    /// Of the time that the link takes, what preparing may take at a level that it rises to.
    private static let share = 0.9
    /// A link that is waited for more than this is what limits; after so many seconds of that the level may rise: one that has
    /// just begun seems slower than it is.
    private static let busyShare = 0.9
    private static let enoughSeconds = 1.0
    /// Of what may be prepared ahead, what must be for it to rise; with less it falls before the link has nothing to do.
    private static let enoughAhead = 0.5
    /// Of any other the level falls, by one only after so many seconds for which it had nothing to do. What makes compressing
    /// slow at first, the scan of the disk, is soon over. To the lowest it falls only where the link has nothing to do for more of
    /// the time than that level's longer data will take, and sooner.
    private static let patience = 1.0
    private static let lowPatience = 0.5
    private static let lowIdleShare = 0.2
    /// What the link has carried so long ago counts for 1/e. Seconds.
    private static let linkMemory = 3.0

    /// What is expected as long as little was sent, which counts as if so many bytes of blocks had been: bytes of blocks that
    /// level 3 takes a second where it has half a core to itself and that are read and hashed in one.
    private static let expected = 32e6
    private static let speed = 100e6
    private static let readingSpeed = 500e6
    /// And what blocks come to, as if so many had been sent.
    private static let ratio = 0.35
    private static let longExpected = 256e6

    private var position = 2
    /// For which the link had nothing to do, since the level fell or the link was waited for.
    private var idleSeconds = 0.0
    /// Since the level rose, or the link was not what limits.
    private var busySeconds = 0.0
    /// In all, for which the link was what limits.
    private var fullSeconds = 0.0
    /// Bytes that the link has lately carried a second when it was full, or more since; nil as long as nothing was sent.
    package private(set) var carried: Double?
    /// Since the last decision.
    private var recent = Sending()
    /// On a long average: bytes of blocks, and what they came to.
    private var blocks = longExpected
    private var sent = longExpected * ratio
    /// On average: bytes of blocks; seconds for preparing them; for reading and hashing them alone, and for compressing them,
    /// as it was done and if it had been at level 3.
    private var prepared = expected
    private var preparing = expected / readingSpeed + expected / speed
    private var reading = expected / readingSpeed
    private var compressing = expected / speed
    private var work = expected / speed

    /// - Parameter bitsPerSecond: of the link, as far as it is known; nil where it is not.
    package init(bitsPerSecond: UInt64? = nil) {
        guard let bitsPerSecond else { return }
        position = max(1, fitting(Double(bitsPerSecond) / 8))
    }

    /// - Parameter level: to begin with; one of `levels`.
    package init(level: Int32) {
        guard let position = Self.levels.firstIndex(where: { $0.level == level }) else {
            preconditionFailure("zstd's level \(level) has no cost")
        }
        self.position = position
    }

    /// The level now.
    package var level: Int32 { Self.levels[position].level }

    /// Whether there is no higher level.
    package var isHighest: Bool { position == Self.levels.indices.last }

    /// Of the time, for how much the link may have nothing to do before the level falls; 1 where there is no lower one.
    package var toleratedIdle: Double {
        switch position {
        case 0: 1
        case 1: Self.lowIdleShare
        default: 1 - Self.busyShare
        }
    }

    /// Whether much may be prepared at this level: not before link and blocks have had time to show what they are, and not
    /// where there is time for a higher one.
    package private(set) var isSettled = false

    /// A batch has been prepared.
    package mutating func note(prepared batch: Batch) {
        guard batch.bytes > 0 || batch.sent > 0, let cost = Self.levels.first(where: { $0.level == batch.level })?.cost
        else { return }
        let longWeight = exp2(-Double(batch.bytes) / Self.longMemory)
        blocks = blocks * longWeight + Double(batch.bytes)
        sent = sent * longWeight + Double(batch.sent)
        let weight = exp2(-Double(batch.work.bytes) / Self.memory)
        prepared = prepared * weight + Double(batch.work.bytes)
        preparing = preparing * weight + batch.work.elapsed
        reading = reading * weight + batch.work.reading
        compressing = compressing * weight + batch.work.compressing
        work = work * weight + batch.work.compressing / cost
    }

    /// A batch has been sent, which was noted when it had been prepared.
    package mutating func note(sent sending: Sending) {
        guard sending.bytes > 0 || sending.sent > 0 else { return }
        recent.bytes += sending.bytes
        recent.sent += sending.sent
        recent.waiting += sending.waiting
        recent.elapsed += sending.elapsed
        recent.stretch.carried += sending.stretch.carried
        recent.stretch.seconds += sending.stretch.seconds
        recent.stretch.bytesPerSecond = max(recent.stretch.bytesPerSecond, sending.stretch.bytesPerSecond)
        recent.ahead = sending.ahead
        // What TCP says of a fast link shows at once that the first level is too high.
        let isFirst = carried == nil && recent.stretch.bytesPerSecond > 0
        guard recent.bytes >= (isFirst ? Self.enoughBytes / 4 : Self.enoughBytes), recent.sent > 0 else { return }
        position = next()
        recent = Sending()
    }

    private mutating func next() -> Int {
        if recent.waiting > recent.elapsed * Self.busyShare {
            idleSeconds = 0
            return nextOfFullLink()
        }
        busySeconds = 0
        return nextOfIdleLink()
    }

    private mutating func nextOfIdleLink() -> Int {
        let idle = recent.elapsed - recent.waiting
        let carried = max(carried ?? 0, leastRate)
        self.carried = carried
        guard position > 1 || idle > recent.elapsed * Self.lowIdleShare else { return position }
        idleSeconds += idle
        let best = max(0, min(position - 1, fitting(carried)))
        let patience = position > 1 ? Self.patience : Self.lowPatience
        guard best < position - 1 || idleSeconds >= patience else { return position }
        idleSeconds = 0
        return best
    }

    private mutating func nextOfFullLink() -> Int {
        let carried = noteFull()
        busySeconds += recent.elapsed
        let best = fitting(carried)
        let ahead = recent.ahead ?? 1
        isSettled = fullSeconds >= Self.enoughSeconds && best <= position
        if best > position, busySeconds >= Self.enoughSeconds, ahead > Self.enoughAhead {
            busySeconds = 0
            return best
        }
        let isTooSlow = seconds(at: position) > sent / blocks / carried
        return fullSeconds >= Self.enoughSeconds && ahead < Self.enoughAhead && isTooSlow ? best : position
    }

    /// Bytes a second that the link carries at the least, where it is not what limits.
    private var leastRate: Double { max(recent.rate, Double(recent.stretch.bytesPerSecond)) }

    /// What the link carries a second, which limits.
    private mutating func noteFull() -> Double {
        let stretch = recent.stretch
        let isKnown = stretch.carried > 0 && stretch.seconds > recent.elapsed / 2
        let rate = isKnown ? Double(stretch.carried) / stretch.seconds : recent.rate
        let before = carried ?? rate
        // One that has just begun seems slower than it is.
        let now =
            fullSeconds < Self.enoughSeconds
            ? max(before, rate) : before + (rate - before) * (1 - exp(-recent.elapsed / Self.linkMemory))
        fullSeconds += recent.elapsed
        carried = now
        return now
    }

    /// The highest position for which a link that carries so much leaves time.
    private func fitting(_ bytesPerSecond: Double) -> Int {
        Self.levels.indices.last { seconds(at: $0) <= sent / blocks / bytesPerSecond * Self.share } ?? 0
    }

    /// What preparing a byte takes on average; other work takes longer as well where this does.
    private func seconds(at position: Int) -> Double {
        (reading + work * Self.levels[position].cost) / prepared * preparing / (reading + compressing)
    }
}
