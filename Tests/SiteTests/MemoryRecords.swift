import NIOConcurrencyHelpers
import Rados

@testable import Site

/// A store of disk records in memory, and the clients of one image, with the faults of a cluster.
final class MemoryRecords: DiskRecords, DiskUsers {
    struct Away: Error {}

    struct State {
        var record: DiskRecord?
        /// The record of the image under another name.
        var renamed: DiskRecord?
        var use = RBDImage.Use()
        var fenced: [[String]] = []
        /// The states of all records that were ever there.
        var states: [DiskRecord.State] = []
        var isWatched = false
        var isAlive = false
        var watchFails = false
        /// The next write fails: before it is done, after it, or it is done when the record is next written.
        var fault: Fault?
        var late: (record: DiskRecord, generation: UInt64?)?
    }

    enum Fault: Sendable { case before, after, late }

    let state = NIOLockedValueBox(State())

    init() {
        state.withLockedValue { $0.use.identity = "1" }
    }

    var states: [DiskRecord.State] { state.withLockedValue { $0.states } }

    var latest: DiskRecord? { state.withLockedValue { $0.record } }

    func record(of image: String) throws -> DiskRecord? { latest }

    func record(ofRenamed image: String, identity: String) throws -> DiskRecord? {
        state.withLockedValue { $0.renamed?.identity == identity ? $0.renamed : nil }
    }

    func write(_ record: DiskRecord, after old: DiskRecord?) throws -> DiskRecord? {
        try state.withLockedValue { state in
            let fault = state.fault
            state.fault = nil
            if fault == .before { throw Away() }
            if fault == .late {
                state.late = (record, old?.generation)
                throw Away()
            }
            if let late = state.late {
                state.late = nil
                _ = Self.put(late.record, after: late.generation, &state)
            }
            let written = Self.put(record, after: old?.generation, &state)
            if fault == .after { throw Away() }
            return written
        }
    }

    private static func put(_ record: DiskRecord, after generation: UInt64?, _ state: inout State) -> DiskRecord? {
        guard state.record?.generation == generation else { return nil }
        var record = record
        record.generation = (generation ?? 0) + 1
        state.record = record
        state.states.append(record.state)
        return record
    }

    func checkIsGone(_ host: String, except instance: UInt64) throws {
        let (isAlive, watchFails) = state.withLockedValue { state in
            state.isWatched = true
            return (state.isAlive, state.watchFails)
        }
        if watchFails { throw Away() }
        if isAlive { throw DiskError.ownerIsAlive(host) }
    }

    func use() throws -> RBDImage.Use {
        state.withLockedValue { $0.use }
    }

    func fence(_ addresses: [String]) throws { state.withLockedValue { $0.fenced.append(addresses) } }
}
