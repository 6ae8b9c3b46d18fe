import func Glibc.exp
import NIOCore

/// Estimates how long the copying of a disk will still take, from how it went so far.
///
/// If the link is the limit, the time depends on the blocks' compressed size, which is unknown before they are
/// compressed. Samples compare the blocks, and the data sent so far shows how right the samples are. If the processor
/// is the limit, it depends on the number of blocks. Both rates are recent ones, because a link may change, and a fast
/// one waits for fingerprints at first.
package struct CopyForecast: Equatable {
    /// Seconds of sending below which the rate of the link is uncertain. `enoughAnswered` applies after the destination
    /// has answered for all of the disk.
    private static let enough = 2.0
    private static let enoughAnswered = 1.5
    /// Data sent this many seconds of sending ago counts for 1/e. The rate of the link has `linkMemory`, which is longer,
    /// because the kernel takes some MiB at once.
    private static let memory = 4.0
    private static let linkMemory = 8.0
    /// A link that was seen full for this long is taken at the rate seen; before, at bytes sent by time. Seconds.
    private static let enoughFull = 0.5
    /// The samples weigh as much as this many bytes sent. Bytes on the link.
    private static let trust = 32e6
    /// From the last block sent to the switchover: the destination writes the data, and both sides compare. Seconds.
    private static let closing = 0.2

    /// A batch that was sent.
    package struct Piece {
        /// Bytes of blocks that it names.
        package var bytes: UInt64
        /// Bytes of blocks, of these and of those before, that have only been named so far.
        package var late: UInt64 = 0
        /// Bytes on the link.
        package var length: UInt64
        /// Bytes, of these and of those before, that still wait for the link.
        package var queued: UInt64 = 0
        /// Expected compressed size of its blocks, by their size; nil for blocks that nobody has asked for.
        package var ratio: Double?
        /// Seconds that the link took for it, and seconds that the link was idle because of it.
        package var waiting: Double
        package var idle: Double
        /// Observed use of the link.
        package var stretch = LinkUse.Stretch()
        /// Share of the time for which the link may stay idle; with more, later blocks are compressed with less effort.
        /// 1 if that is impossible.
        package var lastingIdle = 1.0

        package init(
            bytes: UInt64, late: UInt64 = 0, length: UInt64, queued: UInt64 = 0, ratio: Double? = nil, waiting: Double,
            idle: Double, stretch: LinkUse.Stretch = LinkUse.Stretch(), lastingIdle: Double = 1.0
        ) {
            self.bytes = bytes
            self.late = late
            self.length = length
            self.queued = queued
            self.ratio = ratio
            self.waiting = waiting
            self.idle = idle
            self.stretch = stretch
            self.lastingIdle = lastingIdle
        }
    }

    /// Bytes of the disk that may not be zero.
    package var data: UInt64 = 0
    /// Bytes of `data` for which the destination has answered.
    private var answered: UInt64 = 0
    /// Bytes that the destination wants, and that have been sent.
    private var wanted = Amount()
    private var answers = Amount()
    /// Seconds from the beginning to the last answer.
    private var answering = 0.0
    /// Bytes sent, seconds that the link took for them, and seconds that it was idle because of them; older ones weigh
    /// less.
    private var sent = Amount()
    private var length = 0.0
    private var waiting = 0.0
    private var idle = 0.0
    private var lastingIdle = 1.0
    /// Bytes that the link carried while it was full, and the seconds for them; older ones weigh less.
    private var carried = 0.0
    private var full = 0.0
    /// Bytes that have been sent and still wait for the link.
    private var queued = 0.0
    /// Compressed bytes of all that was sent, and their estimate from samples.
    private var wholeLength = trust
    private var wholeWeight = trust
    /// Blocks that have only been named so far, in their order.
    private var named = CircularBuffer<Named>()
    private var late = 0.0
    /// Seconds of sending in all.
    private var sending = 0.0
    /// Bytes on the link, and the seconds that it took for them, over as long as `idle`.
    private var recentLength = 0.0
    private var recentWaiting = 0.0

    package init(data: UInt64 = 0) {
        self.data = data
    }

    /// Blocks.
    private struct Amount: Equatable {
        package var bytes = 0.0
        /// Bytes that the blocks may come to, compressed.
        package var weight = 0.0

        package static func += (sum: inout Amount, other: Amount) {
            sum.bytes += other.bytes
            sum.weight += other.weight
        }

        package static func *= (amount: inout Amount, factor: Double) {
            amount.bytes *= factor
            amount.weight *= factor
        }
    }

    /// Blocks that have been named at once.
    private struct Named: Equatable {
        package var bytes: Double
        /// Expected compressed size, by their size.
        package let ratio: Double
        package let isAnswer: Bool
    }

    /// Records that the destination has answered.
    /// - Parameters:
    ///   - answered: bytes of blocks.
    ///   - wanted: bytes of the answered blocks that it wants.
    ///   - ratio: expected compressed size of the wanted blocks, as a part of their size.
    ///   - seconds: since the beginning.
    package mutating func note(answered: UInt64, wanted: UInt64, ratio: Double, after seconds: Double) {
        self.answered += answered
        self.wanted += Amount(bytes: Double(wanted), weight: Double(wanted) * ratio)
        answering = seconds
    }

    /// Records that blocks have been sent.
    package mutating func note(_ piece: Piece) {
        // Zeros take no time.
        guard piece.bytes > 0 || piece.length > 0 else { return }
        if piece.bytes > 0 {
            named.append(
                Named(bytes: Double(piece.bytes), ratio: piece.ratio ?? meanRatio, isAnswer: piece.ratio != nil))
        }
        late += Double(piece.bytes)
        let amount = takeNamed(late - Double(piece.late))
        wholeLength += Double(piece.length)
        wholeWeight += amount.weight
        // The first blocks are waited for longer than those that follow.
        let idle = sent.bytes > 0 ? piece.idle : 0
        sending += piece.waiting + idle
        note(onLink: piece)
        let share = exp(-(piece.waiting + idle) / Self.memory)
        self.idle = self.idle * share + idle
        recentLength = recentLength * share + Double(piece.length)
        recentWaiting = recentWaiting * share + piece.waiting
        lastingIdle = piece.lastingIdle
        sent *= share
        sent += amount
    }

    private mutating func note(onLink piece: Piece) {
        let share = exp(-(piece.waiting + piece.idle) / Self.linkMemory)
        length = length * share + Double(piece.length)
        waiting = waiting * share + piece.waiting
        queued = Double(piece.queued)
        carried = carried * share + Double(piece.stretch.carried)
        full = full * share + piece.stretch.seconds
    }

    /// Takes the first `bytes` of the named blocks, whose bytes have been sent now.
    private mutating func takeNamed(_ bytes: Double) -> Amount {
        var taken = Amount()
        while taken.bytes < bytes, let first = named.first {
            let came = min(first.bytes, bytes - taken.bytes)
            let amount = Amount(bytes: came, weight: came * first.ratio)
            taken += amount
            if first.isAnswer { answers += amount }
            if came < first.bytes { named[named.startIndex].bytes -= came } else { named.removeFirst() }
        }
        late -= taken.bytes
        return taken
    }

    /// Records that everything wanted has been sent, or comes in a later round.
    package mutating func endRound() {
        data = answered
        wanted = answers
    }

    /// Seconds until all is sent and the switchover can come; nil if that is unknown, or would never be.
    /// - Parameters:
    ///   - dirty: bytes that the guest has written since they were sent.
    ///   - dirtyPerSecond: bytes that become dirty in each second.
    package func secondsLeft(dirty: UInt64, dirtyPerSecond: Double) -> Double? {
        let enough = answered >= data ? Self.enoughAnswered : Self.enough
        guard answered > 0, sending >= enough || wanted.bytes == 0 else { return nil }
        let whole = Double(max(data, answered)) / Double(answered)
        let scanning = answering * (whole - 1)
        var left = Amount(
            bytes: max(0, wanted.bytes * whole - answers.bytes), weight: max(0, wanted.weight * whole - answers.weight))
        left += Amount(bytes: Double(dirty), weight: Double(dirty) * meanRatio)
        guard left.bytes > 0 else { return max(scanning, length > 0 ? secondsQueued : 0) + Self.closing }
        guard sent.bytes > 0, length > 0 else { return nil }
        let keptUp = 1 - seconds(for: Amount(bytes: dirtyPerSecond, weight: dirtyPerSecond * meanRatio))
        // Otherwise some blocks are left, and their number is not foreseen.
        guard keptUp > 1 - CopyPlan.worthwhile else { return nil }
        let seconds = max(scanning, (seconds(for: left) + secondsQueued) / keptUp) + Self.closing
        return seconds.isFinite ? seconds : nil
    }

    private func seconds(for amount: Amount) -> Double {
        let onLink = secondsPerByte * (wholeLength / wholeWeight) * amount.weight
        return onLink + idleSeconds(for: amount, onLink: onLink)
    }

    private func idleSeconds(for amount: Amount, onLink: Double) -> Double {
        // The data that the kernel had taken at once was on the link while nothing followed it.
        let idle = max(0, idle - max(0, secondsPerByte * recentLength - recentWaiting))
        let asOfLate = idle / sent.bytes * amount.bytes
        return lastingIdle < 1 ? min(asOfLate, idle + onLink * lastingIdle / (1 - lastingIdle)) : asOfLate
    }

    private var secondsQueued: Double { secondsPerByte * queued }

    /// Seconds that the link takes for a byte.
    private var secondsPerByte: Double { full >= Self.enoughFull && carried > 0 ? full / carried : waiting / length }

    private var meanRatio: Double { sent.bytes == 0 ? 1 : sent.weight / sent.bytes }
}
