import Block
import Index

@testable import BlockModel
@testable import Hashing
@testable import Migration
@testable import MigrationCore
@testable import MigrationProtocol

extension SimMigration {
    func fence() {
        world.note("fence")
        source.node.worstMoment()
        source.fence { [self] in
            guard !isOver, machine.step == .fence else { return }
            advance { $0.fenced() }
        }
        // A guest is not kept waiting for ever.
        source.exactly(500_000) { [self] in
            if case .fenced = machine.state, !isOver { group.fail(MigrationError.tooSlow) }
        }
    }

    func sendRest(_ round: Int) {
        dirtyRound(from: 0, isFinal: true) { [self] in
            pipe?.send(.roundEnd(UInt32(round)), from: .source)
            pipe?.send(.prepare(disk.root(manifest, without: [])), from: .source)
        }
    }

    func nameDirty() -> [Range<UInt64>] {
        var dirty: [UInt64] = []
        var cursor: UInt64 = 0
        while cursor < geometry.blockCount { dirty += dirtyMap.take(from: &cursor, limit: 64) }
        taken(dirty)
        if source.faults.contains(.unnamedDirt) { dirty = [] }
        if !dirty.isEmpty {
            pipe?.send(.postcopy(.dirty(dirty.map { BlockRange($0..<$0 + 1) })), from: .source)
        }
        return dirty.map { $0..<$0 + 1 }
    }

    func nameRest() {
        named = named.union(nameDirty())
        missing = named
        pipe?.send(.postcopy(.leave), from: .source)
    }

    func compare(_ theirs: DiskRoot) {
        // All of it is said, or nothing where it is what was named.
        world.check(said.isEmpty || said.union(missing) == said.ascending, "dirty blocks are not missing")
        missing = missing.union(said)
        let ours = disk.root(manifest, without: missing)
        // With a peer that keeps the protocol this must not be.
        if source.faults.isEmpty, ours != theirs { world.fail("invariant 8: the roots differ") }
        let compared = { [self] in
            let believed = source.faults.contains(.uncheckedRoots) ? ours : theirs
            advance { try $0.compared(source: ours, destination: believed) }
        }
        // The destination must take later exactly the blocks that are here now.
        guard !missing.isEmpty, !source.faults.contains(.unflushedSource) else { return compared() }
        source.synchronize { [self] isDurable in
            guard !isOver else { return }
            guard isDurable || source.faults.contains(.handedOverUnflushed) else {
                return fail(Failure.notDurable, .lasting)
            }
            compared()
        }
    }

    func commit() {
        guard !source.image.hasFailed || source.faults.contains(.handedOverUnflushed) else {
            return refuse(Failure.notDurable)
        }
        var record = SimSource.Moved(migration: id, isNeeded: !missing.isEmpty)
        if source.faults.contains(.switchedAlone), group.count > 1, member == 0 {
            return source.later(1500) { [self] in if source.write(record) == .confirmed { committed(record) } }
        }
        guard group.count > 1 else { return commit(record) }
        record.group = group.id
        // Without the common record it counts for nothing, whether it is there or not.
        source.later(1500) { [self] in
            guard source.write(record) == .confirmed else { return refuse(SimStore.Failure()) }
            commit(record)
        }
    }

    private func commit(_ record: SimSource.Moved) {
        group.commit(member, record) { [self] error in
            if let error { return fail(error) }
            committed(record)
        }
    }

    /// The disk can't be given away, and so none of the group can.
    private func refuse(_ error: any Error) {
        group.fail(error, .lasting)
        fail(error, .lasting)
    }

    private func committed(_ record: SimSource.Moved) {
        world.note("committed, \(record.isNeeded ? "needed" : "whole")")
        source.gave(record)
        advance { $0.committed() }
    }

    func forwardClients() {
        startForwarding(isCommitted: true)
        if missing.isEmpty {
            supply?.drop()
            supply = nil
        } else {
            supply = supply ?? SimSupply(source, id, isCommitted: true)
            supply!.commit(manifest, without: missing)
            supply!.start()
        }
        pipe?.send(.commit, from: .source)
        source.gaveAway(forward!, supply)
        source.track(nil)
        source.unfence()
        advance { $0.forwarded() }
        source.migrationEnded()
        group.diskEnded()
    }

    /// The destination has said that it serves the disk, over this connection or the forwarding link.
    func becameActive() {
        guard machine.step == .awaitActive else { return }
        let isNeeded = !missing.isEmpty
        advance { $0.moved(isNeeded: isNeeded) }
        guard machine.step == .supplyRest else { return }
        source.isActive { [self] in
            if machine.step == .supplyRest { advance { $0.released() } }
        }
    }

    /// Makes the record of the disk stand by itself.
    func separate() {
        guard group.count > 1 else { return }
        source.later(1000) { [self] in
            if source.separate(from: group.id) { group.recordStands() }
        }
    }
}
