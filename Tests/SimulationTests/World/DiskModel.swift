@testable import MigrationProtocol

/// What a guest may find on its disk, sector by sector.
///
/// A guest never writes a sector that it is writing already. So a sector holds what was acknowledged last, or, while a
/// write is under way or its answer was lost, that or the written value. After a crash of the machine that held the
/// disk, it holds what the last flush made durable, or anything newer.
final class DiskModel {
    fileprivate struct Sector {
        /// What it may hold now.
        var possible: Set<UInt32>
        /// What may be left of it after a crash: what was there at the last flush, and everything since.
        var survivors: Set<UInt32>
        var writing: UInt32?
        /// Nothing was promised of it since.
        var isTrimmed = false
        /// Changes of what it may hold.
        var version = 0

        /// The values that a read may find now.
        var visible: Set<UInt32> { writing.map { possible.union([$0]) } ?? possible }
    }

    /// What a flush on its way may leave of each sector: what was there when it began, and everything since.
    final class Promise {
        fileprivate var values: [Set<UInt32>]

        fileprivate init(_ values: [Set<UInt32>]) {
            self.values = values
        }
    }

    /// A read on its way: what each sector may have held at some moment of it.
    final class View {
        fileprivate let range: Range<Int>
        fileprivate let versions: [Int]
        fileprivate var allowed: [Set<UInt32>]

        fileprivate init(_ range: Range<Int>, _ sectors: [Sector]) {
            self.range = range
            versions = sectors[range].map(\.version)
            allowed = sectors[range].map(\.visible)
        }
    }

    /// A read that nobody will answer goes away by itself.
    private struct Reading {
        weak var view: View?
    }

    private var sectors: [Sector]
    private var readings: [Reading] = []
    private var promises: [Promise] = []
    private let world: World

    init(_ contents: [UInt32], world: World) {
        sectors = contents.map { Sector(possible: [$0], survivors: [$0]) }
        self.world = world
        world.watch(self)
    }

    var count: Int { sectors.count }

    func isBeingWritten(_ range: Range<Int>) -> Bool { sectors[range].contains { $0.writing != nil } }

    func beginWrite(_ values: [UInt32], at first: Int) {
        for (index, value) in values.enumerated() {
            sectors[first + index].writing = value
            changed(first + index)
        }
    }

    func acknowledgeWrite(_ values: [UInt32], at first: Int) {
        world.note("acknowledged: \(first)..<\(first + values.count) are \(values)")
        for index in first..<first + values.count { sectors[index].isTrimmed = false }
        for (index, value) in values.enumerated() {
            sectors[first + index].possible = [value]
            survives(value, at: first + index)
            sectors[first + index].writing = nil
            changed(first + index)
        }
    }

    func acknowledgeTrim(at range: Range<Int>) {
        loseWrite(range.map { _ in 0 }, at: range.lowerBound)
        for index in range { sectors[index].isTrimmed = true }
    }

    /// Nobody will hear whether it was done.
    func loseWrite(_ values: [UInt32], at first: Int) {
        world.note("uncertain: \(first)..<\(first + values.count) are \(values)")
        for (index, value) in values.enumerated() {
            sectors[first + index].possible.insert(value)
            survives(value, at: first + index)
            sectors[first + index].writing = nil
            changed(first + index)
        }
    }

    private func survives(_ value: UInt32, at index: Int) {
        sectors[index].survivors.insert(value)
        for promise in promises { promise.values[index].insert(value) }
    }

    func beginFlush() -> Promise {
        promises.append(Promise(sectors.map(\.possible)))
        return promises.last!
    }

    func acknowledgeFlush(_ promise: Promise) {
        world.note("flushed")
        loseFlush(promise)
        for index in sectors.indices {
            sectors[index].survivors = promise.values[index]
            if let writing = sectors[index].writing { sectors[index].survivors.insert(writing) }
        }
    }

    /// Nobody will hear whether it was done.
    func loseFlush(_ promise: Promise) { promises.removeAll { $0 === promise } }

    /// A forced write keeps itself.
    func acknowledgeForced(_ values: [UInt32], at first: Int) {
        for (index, value) in values.enumerated() { sectors[first + index].survivors = [value] }
    }

    func beginRead(_ range: Range<Int>) -> View {
        let view = View(range, sectors)
        readings.removeAll { $0.view == nil }
        readings.append(Reading(view: view))
        return view
    }

    /// Another value of a sector is there for the reads on their way.
    private func changed(_ index: Int) {
        sectors[index].version += 1
        for view in readings.compactMap(\.view) where view.range.contains(index) {
            view.allowed[index - view.range.lowerBound].formUnion(sectors[index].visible)
        }
    }

    /// A read must find what was there at some moment of it.
    func endRead(_ view: View, _ range: Range<Int>, found: [UInt32], _ whence: String) {
        for (offset, value) in found.enumerated() {
            let sector = sectors[range.lowerBound + offset]
            let allowed = view.allowed[offset]
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
    func crash() { crash { _ in true } }

    /// The machine has gone down, and every change but trims will be made again.
    func crashTrimmed() { crash(where: \.isTrimmed) }

    private func crash(where isConcerned: (Sector) -> Bool) {
        for index in sectors.indices where isConcerned(sectors[index]) {
            sectors[index].possible = sectors[index].survivors
            if let writing = sectors[index].writing { sectors[index].possible.insert(writing) }
            for promise in promises { promise.values[index].formUnion(sectors[index].possible) }
            changed(index)
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
