import Block

/// An image: what the kernel holds of it, and what would be left after a crash of the machine.
///
/// Its unit is a sector, of which only a number is kept: a block has a few, so that writes of its parts meet each other. It is
/// also the unit in which partitions begin.
final class SimImage {
    static let sectorBytes: UInt64 = 512

    /// What was written by some moment.
    struct Snapshot {
        let sectors: [UInt32]
        fileprivate let stamps: [UInt64]
    }

    private(set) var sectors: [UInt32]
    private var durable: [UInt32]
    /// When each sector was written: a later writing back never undoes an earlier one of newer data.
    private var stamps: [UInt64]
    private var durableStamps: [UInt64]
    /// When a sector was written that a failed attempt was to make durable, and that no later attempt will write.
    private var droppedStamps: [UInt64]
    private var clock: UInt64 = 0
    /// Whether an attempt to make the image durable has failed: then all fail until the image is opened anew.
    private(set) var hasFailed = false
    private var failsNext = false
    private let faults: Faults
    private let name: String
    private let world: World

    init(count: Int, name: String, world: World, faults: Faults) {
        self.name = name
        self.faults = faults
        sectors = Array(repeating: 0, count: count)
        durable = sectors
        stamps = Array(repeating: 0, count: count)
        durableStamps = stamps
        droppedStamps = stamps
        self.world = world
        world.watch(self)
    }

    /// Makes the image anew.
    func fill(_ values: [UInt32]) {
        hasFailed = false
        clock += 1
        sectors = values
        durable = values
        stamps = Array(repeating: clock, count: values.count)
        durableStamps = stamps
    }

    /// Writes one after the other, so that a crash may come between.
    func write(_ values: [UInt32], at first: Int, from part: Int, to end: Int) {
        clock += 1
        world.note("\(name)'s image: sectors \(first + part)..<\(first + end) are \(values[part..<end])")
        for index in part..<end {
            sectors[first + index] = values[index]
            stamps[first + index] = clock
        }
    }

    func write(_ values: [UInt32], at first: Int) { write(values, at: first, from: 0, to: values.count) }

    func read(_ range: Range<Int>) -> [UInt32] { Array(sectors[range]) }

    /// The next attempt to make the image durable fails.
    func failNext() {
        world.note("\(name)'s disk fails")
        failsNext = true
    }

    /// The disk is in order, as far as nothing has failed yet.
    func mend() { failsNext = false }

    /// What a later `settle` makes durable: what has been written by now.
    func snapshot() -> Snapshot { Snapshot(sectors: sectors, stamps: stamps) }

    /// An attempt to make durable what was there at a moment ends.
    /// - Returns: false where it has failed. Of what it was to write anything is durable, and the kernel forgets the rest.
    func settle(_ snapshot: Snapshot) -> Bool {
        if hasFailed, !faults.contains(.forgottenFlushFailure) { return false }
        let fails = failsNext
        world.note("\(name)'s image is \(fails ? "not " : "")durable")
        for index in durable.indices where snapshot.stamps[index] > durableStamps[index] {
            if snapshot.stamps[index] == droppedStamps[index] { continue }
            if fails, world.chance(50) {
                droppedStamps[index] = snapshot.stamps[index]
            } else {
                durable[index] = snapshot.sectors[index]
                durableStamps[index] = snapshot.stamps[index]
            }
        }
        guard fails else { return true }
        failsNext = false
        hasFailed = true
        return false
    }

    /// The machine goes down: of what was not flushed anything may be left, but for what the kernel has forgotten.
    func crash() {
        for index in sectors.indices where stamps[index] != durableStamps[index] {
            if droppedStamps[index] != stamps[index], world.chance(50) { durable[index] = sectors[index] }
            revert(index)
        }
        hasFailed = false
    }

    /// The image is opened anew: what the kernel has forgotten is not there any more.
    func reopen() {
        for index in sectors.indices
        where droppedStamps[index] == stamps[index] && stamps[index] != durableStamps[index] {
            revert(index)
        }
        hasFailed = false
    }

    /// The image is opened anew, and is taken to hold what it shows.
    func reuse() { hasFailed = false }

    private func revert(_ index: Int) {
        sectors[index] = durable[index]
        clock += 1
        stamps[index] = clock
        durableStamps[index] = clock
    }
}
