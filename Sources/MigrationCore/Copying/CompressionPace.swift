import func Glibc.exp
import func Glibc.exp2

/// Chooses the compression level of the data stream. The level is as high as the link leaves time for, so that the link
/// limits a migration and not the processor.
///
/// The level rises only after the link has been the limit for a while without a break. It rises to a level for which
/// there is time on the average of much of the data sent. Stretches that hardly shrink alternate with others that
/// shrink to nothing, and each change costs the context that the new frame lacks. This was some 80 KiB of the 160 MiB
/// of a 700 MiB disk. The level falls when the link has been idle for a while, or soon would be.
///
/// One thread compresses better than several, of which each begins with little context: by 0.5 to 9 % at level 9. So
/// threads are used only for a link that is too fast for one.
package struct CompressionPace {
    /// The compressed size of a batch of blocks.
    package struct Batch {
        /// Bytes of blocks that were compressed.
        package var bytes: UInt64 = 0
        /// Compressed bytes, at this level.
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

    /// The time for preparing blocks.
    package struct Work {
        /// Bytes of blocks.
        package var bytes: UInt64 = 0
        /// Seconds for reading and hashing them, and for compressing them.
        package var reading = 0.0
        package var compressing = 0.0
        /// Seconds for both, including other work that ran meanwhile.
        package var elapsed = 0.0

        package init(bytes: UInt64 = 0, reading: Double = 0.0, compressing: Double = 0.0, elapsed: Double = 0.0) {
            self.bytes = bytes
            self.reading = reading
            self.compressing = compressing
            self.elapsed = elapsed
        }
    }

    /// The link's work on a batch.
    package struct Sending {
        /// Bytes of the batch's blocks, and their compressed bytes.
        package var bytes: UInt64 = 0
        package var sent: UInt64 = 0
        /// Seconds for which the link was busy; `elapsed` includes its idle seconds.
        package var waiting = 0.0
        package var elapsed = 0.0
        /// Observed use of the link.
        package var stretch = LinkUse.Stretch()
        /// Filled part of the queue behind it, 0 to 1; nil if nothing may wait.
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

    /// zstd's levels, and the cost of each against level 3, measured on blocks of virtual machines with a window of 128
    /// MiB.
    package static let levels: [(level: Int32, cost: Double)] = [
        (1, 0.7), (3, 1), (6, 2.1), (8, 3), (9, 3.4), (10, 5), (12, 9.5),
    ]
    /// Bytes of blocks between two decisions.
    private static let enoughBytes: UInt64 = 8 << 20
    /// The preparing time of a block counts half as much after this many further bytes of blocks. Its compressed size does
    /// so after `longMemory`, because a disk has long stretches of one kind.
    private static let memory = 24e6
    private static let longMemory = 512e6
    /// Share of the time of the link that preparing may take at a level that it rises to.
    private static let share = 0.9
    /// The link is the limit if it is waited for during more than this share of the time. After `enoughSeconds` of that
    /// the level may rise; a link that has just begun seems slower than it is.
    private static let busyShare = 0.9
    private static let enoughSeconds = 1.0
    /// Filled part of the queue ahead for the level to rise; with less it falls before the link is idle.
    private static let enoughAhead = 0.5
    /// If something else is the limit, the level falls by one, after this many idle seconds of the link. The disk scan,
    /// which slows compressing at first, is soon over. The level falls to the lowest after fewer seconds, but only
    /// above an idle share. That share is larger than the extra time for the longer data of that level.
    private static let patience = 1.0
    private static let lowPatience = 0.5
    private static let lowIdleShare = 0.2
    /// Data carried this long ago counts for 1/e. Seconds.
    private static let linkMemory = 3.0

    /// The expectation before much has been sent; it counts as if this many bytes of blocks had been. `speed`: bytes a
    /// second at level 3 with half a core. `readingSpeed`: bytes a second that are read and hashed.
    private static let expected = 32e6
    private static let speed = 100e6
    private static let readingSpeed = 500e6
    /// Expected compressed size of blocks, counting as if this many bytes had been sent.
    private static let ratio = 0.35
    private static let longExpected = 256e6

    /// The position of the lowest level at which one thread makes less than several do at level 9.
    private static let lowestAlone = 3
    /// One thread that works for less than this share of the time does not keep the link waiting.
    private static let idleThreadShare = 0.5

    /// Threads that could compress instead of one.
    private let threads: Int
    /// Whether they should.
    package private(set) var usesThreads = false
    /// Seconds of preparing since the last decision.
    private var recentPreparing = 0.0
    private var position = 2
    /// The lowest position that is chosen.
    private var lowest = 0
    /// Idle seconds of the link since the level fell or the link was waited for.
    private var idleSeconds = 0.0
    /// Seconds since the level rose, or the link was not the limit.
    private var busySeconds = 0.0
    /// Seconds in all for which the link was the limit.
    private var fullSeconds = 0.0
    /// Bytes a second that the link has lately carried when it was full, or more since; nil before anything is sent.
    package private(set) var carried: Double?
    /// Bytes since the last decision.
    private var recent = Sending()
    /// Over a long time: bytes of blocks, and their compressed bytes.
    private var blocks = longExpected
    private var sent = longExpected * ratio
    /// Averages. `prepared`: bytes of blocks. `preparing`: seconds for preparing them. `reading`: seconds for reading
    /// and hashing alone. `compressing`: seconds for compressing them. `work`: the same if it had been at level 3.
    private var prepared = expected
    private var preparing = expected / readingSpeed + expected / speed
    private var reading = expected / readingSpeed
    private var compressing = expected / speed
    private var work = expected / speed

    /// - Parameters:
    ///   - bitsPerSecond: the link's rate; nil if unknown.
    ///   - threads: that could compress instead of one; 0 if there are none.
    package init(bitsPerSecond: UInt64? = nil, threads: Int = 0) {
        self.threads = threads
        // One thread has a core to itself if there are several.
        if threads > 1 { preparing /= 2 }
        guard let bitsPerSecond else { return }
        let best = fitting(Double(bitsPerSecond) / 8)
        usesThreads = threads > 1 && best < Self.lowestAlone
        position = max(1, best)
    }

    /// - Parameter level: the first level; one of `levels`. Threads are used if there are any.
    package init(level: Int32) {
        threads = 0
        usesThreads = true
        guard let position = Self.levels.firstIndex(where: { $0.level == level }) else {
            preconditionFailure("zstd's level \(level) has no cost")
        }
        self.position = position
    }

    /// The level does not fall below this one from now on.
    package mutating func stay(atLeast level: Int32) {
        lowest = Self.levels.firstIndex { $0.level >= level } ?? Self.levels.count - 1
        position = max(position, lowest)
    }

    /// The level now.
    package var level: Int32 { Self.levels[position].level }

    /// Share of the time for which the link may be idle before the level falls; 1 if there is no lower one.
    package var toleratedIdle: Double {
        switch position {
        case 0: 1
        case 1: Self.lowIdleShare
        default: 1 - Self.busyShare
        }
    }

    /// Whether much may be prepared at this level. This needs known rates of the link and the blocks, and no time for a
    /// higher level.
    package private(set) var isSettled = false

    /// Records that a batch has been prepared.
    package mutating func note(prepared batch: Batch) {
        guard batch.bytes > 0 || batch.sent > 0, let cost = Self.levels.first(where: { $0.level == batch.level })?.cost
        else { return }
        let longWeight = exp2(-Double(batch.bytes) / Self.longMemory)
        blocks = blocks * longWeight + Double(batch.bytes)
        sent = sent * longWeight + Double(batch.sent)
        let weight = exp2(-Double(batch.work.bytes) / Self.memory)
        prepared = prepared * weight + Double(batch.work.bytes)
        preparing = preparing * weight + batch.work.elapsed
        recentPreparing += batch.work.elapsed
        reading = reading * weight + batch.work.reading
        compressing = compressing * weight + batch.work.compressing
        work = work * weight + batch.work.compressing / cost
    }

    /// Records that a batch has been sent; it was recorded before when it was prepared.
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
        // TCP's rate of a fast link shows at once that the first level is too high.
        let isFirst = carried == nil && recent.stretch.bytesPerSecond > 0
        guard recent.bytes >= (isFirst ? Self.enoughBytes / 4 : Self.enoughBytes), recent.sent > 0 else { return }
        position = max(lowest, next())
        recent = Sending()
        recentPreparing = 0
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
        // The scan of the disk, or the destination, keeps the link waiting: a lower level would not help.
        if threads > 0, !usesThreads, recentPreparing < recent.elapsed * Self.idleThreadShare { return position }
        if beginsThreads(for: carried) { return min(position, fitting(carried)) }
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
        if ahead < Self.enoughAhead, fullSeconds >= Self.enoughSeconds, beginsThreads(for: carried) {
            return min(position, fitting(carried))
        }
        if best == Self.levels.count - 1, busySeconds >= Self.enoughSeconds, ahead > Self.enoughAhead, endsThreads() {
            busySeconds = 0
            return fitting(carried)
        }
        isSettled = fullSeconds >= Self.enoughSeconds && best <= position
        if best > position, busySeconds >= Self.enoughSeconds, ahead > Self.enoughAhead {
            busySeconds = 0
            return best
        }
        let isTooSlow = seconds(at: position) > sent / blocks / carried
        return fullSeconds >= Self.enoughSeconds && ahead < Self.enoughAhead && isTooSlow ? best : position
    }

    /// Lets threads compress if one is too slow for a link with this rate, at any level that makes less than threads do.
    private mutating func beginsThreads(for bytesPerSecond: Double) -> Bool {
        guard threads > 1, !usesThreads, fitting(bytesPerSecond) < Self.lowestAlone else { return false }
        usesThreads = true
        preparing /= Double(threads)
        idleSeconds = 0
        return true
    }

    /// Lets one thread compress again: the link leaves several time for the highest level.
    private mutating func endsThreads() -> Bool {
        guard threads > 1, usesThreads else { return false }
        usesThreads = false
        preparing *= Double(threads)
        return true
    }

    /// Least rate of the link, bytes a second, while it is not the limit.
    private var leastRate: Double { max(recent.rate, Double(recent.stretch.bytesPerSecond)) }

    /// Rate of the link while it is the limit, bytes a second.
    private mutating func noteFull() -> Double {
        let stretch = recent.stretch
        let isKnown = stretch.carried > 0 && stretch.seconds > recent.elapsed / 2
        let rate = isKnown ? Double(stretch.carried) / stretch.seconds : recent.rate
        let before = carried ?? rate
        // A link that has just begun seems slower than it is.
        let now =
            fullSeconds < Self.enoughSeconds
            ? max(before, rate) : before + (rate - before) * (1 - exp(-recent.elapsed / Self.linkMemory))
        fullSeconds += recent.elapsed
        carried = now
        return now
    }

    /// The position of the highest level for which a link with this rate leaves time.
    private func fitting(_ bytesPerSecond: Double) -> Int {
        Self.levels.indices.last { seconds(at: $0) <= sent / blocks / bytesPerSecond * Self.share } ?? 0
    }

    /// Average seconds for preparing a byte; other work slows this, too.
    private func seconds(at position: Int) -> Double {
        (reading + work * Self.levels[position].cost) / prepared * preparing / (reading + compressing)
    }
}
