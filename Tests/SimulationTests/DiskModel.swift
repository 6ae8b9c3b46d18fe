/// What a guest may find on its disk, sector by sector.
///
/// A guest never writes a sector that it is writing already. So a sector holds what was acknowledged last, or, while a
/// write is under way or its answer was lost, that or the written value. After a crash of the machine that held the
/// disk, it holds what the last flush made durable, or anything newer.
final class DiskModel {
    private struct Sector {
        /// What it may hold now.
        var possible: Set<UInt32>
        /// What may be left of it after a crash: what was there at the last flush, and everything since.
        var survivors: Set<UInt32>
        var writing: UInt32?
        /// Changes of what it may hold.
        var version = 0
    }

    private var sectors: [Sector]
    private let world: World

    init(_ contents: [UInt32], world: World) {
        sectors = contents.map { Sector(possible: [$0], survivors: [$0]) }
        self.world = world
    }

    var count: Int { sectors.count }

    func isBeingWritten(_ range: Range<Int>) -> Bool { sectors[range].contains { $0.writing != nil } }

    func beginWrite(_ values: [UInt32], at first: Int) {
        for (index, value) in values.enumerated() {
            sectors[first + index].writing = value
            sectors[first + index].version += 1
        }
    }

    func acknowledgeWrite(_ values: [UInt32], at first: Int) {
        for (index, value) in values.enumerated() {
            sectors[first + index].possible = [value]
            sectors[first + index].survivors.insert(value)
            sectors[first + index].writing = nil
            sectors[first + index].version += 1
        }
    }

    /// Nobody will hear whether it was done.
    func loseWrite(_ values: [UInt32], at first: Int) {
        for (index, value) in values.enumerated() {
            sectors[first + index].possible.insert(value)
            sectors[first + index].survivors.insert(value)
            sectors[first + index].writing = nil
            sectors[first + index].version += 1
        }
    }

    /// What a flush that begins now promises to keep, if it is acknowledged.
    func beginFlush() -> [Set<UInt32>] { sectors.map(\.possible) }

    func acknowledgeFlush(_ promise: [Set<UInt32>]) {
        for index in sectors.indices {
            // Of what has been there since the flush began nothing is promised, but it may be left as well.
            var survivors = sectors[index].possible.union(promise[index])
            if let writing = sectors[index].writing { survivors.insert(writing) }
            sectors[index].survivors = survivors
        }
    }

    /// A forced write keeps itself.
    func acknowledgeForced(_ values: [UInt32], at first: Int) {
        for (index, value) in values.enumerated() { sectors[first + index].survivors = [value] }
    }

    struct View {
        let versions: [Int]
        let allowed: [Set<UInt32>]
    }

    func beginRead(_ range: Range<Int>) -> View {
        View(
            versions: sectors[range].map(\.version),
            allowed: sectors[range].map { sector in
                sector.writing.map { sector.possible.union([$0]) } ?? sector.possible
            })
    }

    /// A read must find what was there at some moment of it.
    func endRead(_ view: View, _ range: Range<Int>, found: [UInt32], _ whence: String) {
        for (offset, value) in found.enumerated() {
            let sector = sectors[range.lowerBound + offset]
            var allowed = view.allowed[offset].union(sector.possible)
            if let writing = sector.writing { allowed.insert(writing) }
            world.check(
                allowed.contains(value),
                "\(whence) found \(value) in sector \(range.lowerBound + offset), where \(allowed.sorted()) may be")
            // Once read, it does not change by itself.
            if sector.writing == nil, sector.version == view.versions[offset] {
                sectors[range.lowerBound + offset].possible = [value]
            }
        }
    }

    /// The machine that holds the disk has gone down.
    func crash() {
        for index in sectors.indices {
            sectors[index].possible = sectors[index].survivors
            if let writing = sectors[index].writing { sectors[index].possible.insert(writing) }
            sectors[index].version += 1
        }
    }

    /// The whole disk, with nobody using it.
    func compare(_ contents: [UInt32], _ whence: String) {
        for (index, value) in contents.enumerated() {
            let sector = sectors[index]
            world.check(
                sector.possible.contains(value) || sector.writing == value,
                "\(whence) holds \(value) in sector \(index), where \(sector.possible.sorted()) may be")
        }
    }
}
