import Block
import Foundation
import Logging
import NIOConcurrencyHelpers
import StorageDaemon
import TestSupport
import Testing

@testable import Daemon
@testable import Migration
@testable import Rados
@testable import Site

/// Disks of a site whose store is slow.
@Suite("Disks of a site with a slow store", .timeLimit(.minutes(2)))
struct SlowStoreTests {
    /// One record in memory, of which writes wait while they are held.
    private final class SlowRecords: DiskRecords, DiskUsers, OwnDiskRecords {
        struct State {
            var record: DiskRecord?
            var watchers: [String] = []
            var isHeld = false
            var isWaiting = false
        }

        let state = NIOLockedValueBox(State())

        func record(of image: String) throws -> DiskRecord? { state.withLockedValue { $0.record } }

        func record(ofRenamed image: String, identity: String) throws -> DiskRecord? { nil }

        func write(_ record: DiskRecord, after old: DiskRecord?) throws -> DiskRecord? {
            while state.withLockedValue({ state in
                state.isWaiting = state.isHeld
                return state.isHeld
            }) { usleep(10_000) }
            return state.withLockedValue { state in
                guard state.record?.generation == old?.generation else { return nil }
                var record = record
                record.generation = (old?.generation ?? 0) + 1
                state.record = record
                return record
            }
        }

        func checkIsGone(_ host: String, except instance: UInt64) throws {}

        func use() throws -> RBDImage.Use {
            var use = RBDImage.Use()
            (use.identity, use.watchers) = ("1", state.withLockedValue { $0.watchers })
            return use
        }

        func fence(_ addresses: [String]) throws {}

        func departure() throws -> String? { nil }

        func gap() throws -> String? { nil }

        func dropRequests() throws {}
    }

    private let scratch = Scratch()
    private let records = SlowRecords()

    private func image(for node: Node) async throws -> NBDDiskImage {
        let file = try scratch.hole(1 << 20, "disk")
        let claim = try DiskClaim(
            "rbd:rbd/web", as: "web", of: DiskOwner(host: "a", home: 1), in: records, users: records, own: records,
            isArriving: true)
        records.state.withLockedValue { $0.watchers = ["helper"] }
        let specification = try ImageSpecification(#"json:{"driver":"file","filename":"\#(file)"}"#, format: nil)
        let daemon = try await BackingOpener.onThread { [scratch] in
            try StorageDaemon.start(
                specification, StorageDaemon.Options(isReadOnly: false), in: scratch.path, admission: claim,
                report: { _ in })
        }
        return try await NBDDiskImage.open(
            uri: daemon.uri, path: "rbd:rbd/web", givenName: "rbd:rbd/web", loops: node.loops, server: daemon)
    }

    @Test("The store does not answer at a switchover -> clients are served, and the record follows when it does")
    func switchover() async throws {
        let configuration = NodeConfiguration(state: scratch.file("state"), defaultControl: nil)
        let node = try Node(configuration: configuration, logger: Logger(label: "test"))
        let image = try await image(for: node)
        records.state.withLockedValue { $0.isHeld = true }
        let isServed = NIOLockedValueBox(false)
        let task = Task {
            _ = try await node.addArrived(
                ReceivedDisk(
                    export: "web", image: image, device: image.device, map: nil, early: nil, supersedes: nil,
                    isReturn: false, isReadOnly: false, bitmap: nil))
            isServed.withLockedValue { $0 = true }
        }
        // So that the node can end after a failure.
        defer { records.state.withLockedValue { $0.isHeld = false } }
        try await waitUntil("the store is asked") { records.state.withLockedValue { $0.isWaiting } }
        try await waitUntil("the disk is served, without the store") { isServed.withLockedValue { $0 } }
        #expect(records.state.withLockedValue { $0.record?.state } == .arriving)
        records.state.withLockedValue { $0.isHeld = false }
        try await task.value
        try await waitUntil("the record says so") { records.state.withLockedValue { $0.record?.state } == .served }
        await node.stop()
    }
}
