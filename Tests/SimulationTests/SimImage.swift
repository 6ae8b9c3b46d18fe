import Block

/// An image: what the kernel holds of it, and what would be left after a crash of the machine.
///
/// Its unit is a sector of 128 bytes, of which only a number is kept: small enough that writes of parts of a block, and
/// of bytes within them, meet each other.
final class SimImage {
    static let sectorBytes: UInt64 = 128

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
    private var clock: UInt64 = 0
    private let name: String
    private let world: World

    init(count: Int, name: String, world: World) {
        self.name = name
        sectors = Array(repeating: 0, count: count)
        durable = sectors
        stamps = Array(repeating: 0, count: count)
        durableStamps = stamps
        self.world = world
        world.watch(self)
    }

    func fill(_ values: [UInt32]) {
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

    /// What a later `settle` makes durable: what has been written by now.
    func snapshot() -> Snapshot { Snapshot(sectors: sectors, stamps: stamps) }

    func settle(_ snapshot: Snapshot) {
        world.note("\(name)'s image is durable")
        for index in durable.indices where snapshot.stamps[index] > durableStamps[index] {
            durable[index] = snapshot.sectors[index]
            durableStamps[index] = snapshot.stamps[index]
        }
    }

    /// The machine goes down: of what was not flushed anything may be left.
    func crash() {
        for index in sectors.indices where stamps[index] != durableStamps[index] {
            if world.chance(50) { durable[index] = sectors[index] }
            sectors[index] = durable[index]
            clock += 1
            stamps[index] = clock
            durableStamps[index] = clock
        }
    }
}
