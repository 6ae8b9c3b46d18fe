import Hashing

/// Decides whether a disk that arrives waits for blocks that other disks have asked for already, instead of asking for them
/// once more.
///
/// A disk waits only for disks of the same domains that began to arrive earlier, so that no two wait for each other. The promises
/// of a disk count as long as something comes for it.
package struct BlockPromises: Sendable {
    /// A block that a disk has asked for.
    package struct Promise: Equatable, Sendable {
        let prefix: UInt64
        let disk: Int
        /// It counts no more from then on, unless the disk has given a sign meanwhile.
        package let end: ContinuousClock.Instant
    }

    private struct Disk {
        let domains: Set<String>
        /// The moment of the last promise, or of the last block that came.
        var lastSign: ContinuousClock.Instant
    }

    /// The silence after which a disk's promises count no more.
    package static let patience = Duration.seconds(2)
    /// The most promises: further blocks are asked for once more.
    private static let most = 1 << 18

    /// Disks that arrive, by their numbers, which are given in the order of arrival.
    private var disks: [Int: Disk] = [:]
    private var promised: [UInt64: Int] = [:]

    package init() {}

    /// A disk begins to arrive.
    /// - Parameter disk: its number, higher than those of all others before.
    package mutating func joined(_ disk: Int, domains: Set<String>, at now: ContinuousClock.Instant) {
        disks[disk] = Disk(domains: domains, lastSign: now)
    }

    /// A disk arrives no more.
    package mutating func left(_ disk: Int) {
        withdraw(disk)
        disks[disk] = nil
    }

    /// A disk has asked for blocks.
    package mutating func promise(_ prefixes: [UInt64], by disk: Int, at now: ContinuousClock.Instant) {
        for prefix in prefixes where promised.count < Self.most && promised[prefix] == nil { promised[prefix] = disk }
        if !prefixes.isEmpty { disks[disk]?.lastSign = now }
    }

    /// Blocks have come for a disk, and can be read from there.
    package mutating func came(_ blocks: [Fingerprint], for disk: Int, at now: ContinuousClock.Instant) {
        if !promised.isEmpty { for block in blocks { promised[block.high] = nil } }
        disks[disk]?.lastSign = now
    }

    /// The blocks that a disk has asked for and that have not come will not come soon.
    package mutating func withdraw(_ disk: Int) {
        if !promised.isEmpty { promised = promised.filter { $0.value != disk } }
    }

    /// Whether nothing has been promised.
    package var isEmpty: Bool { promised.isEmpty }

    /// The promise of a block for which a disk is to wait; nil if the block may not come soon.
    /// - Parameters:
    ///   - domains: of the disk that wants the block.
    ///   - isEarlier: whether a disk of this host began to arrive before that one.
    package func promise(
        of prefix: UInt64, domains: Set<String>, at now: ContinuousClock.Instant, isEarlier: (Int) -> Bool
    ) -> Promise? {
        guard let number = promised[prefix], isEarlier(number), let other = disks[number], other.domains == domains
        else { return nil }
        let end = other.lastSign + Self.patience
        return end > now ? Promise(prefix: prefix, disk: number, end: end) : nil
    }

    /// Whether a promise has been neither kept nor withdrawn.
    package func isOpen(_ promise: Promise) -> Bool { promised[promise.prefix] == promise.disk }
}
