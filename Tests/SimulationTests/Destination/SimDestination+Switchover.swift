@testable import BlockModel
@testable import Migration
@testable import MigrationCore
@testable import MigrationProtocol

/// Disks that are prepared and served.
extension SimDestination {
    /// The image is durable; makes the map and the record so, and tells whether they are.
    func prepare(_ id: MigrationID, _ root: DiskRoot, present: PresentMap?, _ done: @escaping (Bool) -> Void) {
        later(1000) { [self] in
            if let present {
                guard synchronizeManifest() else { return done(false) }
                let map = DurablePresentMap(geometry: disk.geometry)
                for block in 0..<disk.geometry.blockCount where present.isPresent(block) {
                    map.markTaken(block..<block + 1)
                }
                removePages()
                guard writePages(map.takeChanges()) else { return done(false) }
                liveMap = map
            } else {
                liveMap = nil
                removePages()
            }
            later(1000) { [self] in
                let record = Record(migration: id, root: root, needsSource: present != nil)
                guard (try? machine.checkMayPrepare(id)) != nil, write(record) else { return done(false) }
                records[id] = record
                perform(machine.prepared(record.arrival(size: disk.geometry.diskSize)))
                later(300) { [self] in
                    done(true)
                    if faults.contains(.eagerDestination) { takeOver(id) { _ in } }
                }
            }
        }
    }

    /// The source has committed.
    /// - Parameter done: told whether the disk is served here.
    func takeOver(_ id: MigrationID, _ done: @escaping (Bool) -> Void) {
        guard let step = try? machine.committed(id) else { return done(false) }
        switch step {
        case .served: done(true)
        case .join: activationWaits[id, default: []].append(done)
        case .serve:
            activationWaits[id] = [done]
            activate(id)
        }
    }

    private func activate(_ id: MigrationID) {
        later(1000) { [self] in
            var record = records[id]!
            let isTrusted = record.isActive && faults.contains(.trustedRecord)
            record.isActive = true
            guard isTrusted || write(record) || faults.contains(.servedUnknown) else {
                perform(machine.servingFailed(id))
                return activated(id, false)
            }
            records[id] = record
            machine.recorded(id)
            later(500) { [self] in
                serve(record)
                activated(id, true)
            }
        }
    }

    private func activated(_ id: MigrationID, _ isServed: Bool) {
        for wait in activationWaits.removeValue(forKey: id) ?? [] { wait(isServed) }
    }

    private func serve(_ record: Record) {
        hasServed = true
        world.check(
            simulation.source.moved?.migration == record.migration || faults.contains(.lateWord),
            "invariant 5: the destination serves a disk that was not given to it")
        world.note("destination serves, \(record.needsSource ? "partly" : "whole")")
        if record.needsSource {
            resolving = SimPostCopy(self, record.migration, liveMap!)
            for kind in PostCopyChannel.allCases where channels[kind] != nil && channelsMigration == record.migration {
                resolving!.channelUp(kind, channels[kind]!)
            }
            resolving!.start()
        }
        let operations = early
        early = []
        earlyReads = [:]
        perform(machine.served(record.migration, as: ServedDisk(number: 0)))
        for operation in operations { submit(operation) }
    }

    func completed(_ id: MigrationID, _ done: @escaping (Bool) -> Void) {
        later(1000) { [self] in
            var record = records[id]!
            record.needsSource = false
            guard write(record) else { return done(false) }
            records[id] = record
            machine.completed(id)
            resolving = nil
            liveMap = nil
            world.note("complete")
            done(true)
        }
    }
}
