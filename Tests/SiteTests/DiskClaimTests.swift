import Foundation
import NIOConcurrencyHelpers
import StorageDaemon
import TestSupport
import Testing

@testable import Rados
@testable import Site

/// The right to serve a disk on an RBD image. Runs with the cluster of `nbd-scripts/test ceph`.
@Suite("Disks on RBD images", .enabled(if: StoreKind.configuration != nil), .timeLimit(.minutes(5)))
struct DiskClaimTests {
    private let scratch = Scratch()
    private let store = SiteStore(files: RadosFiles(pool: StoreKind.pool()))
    private let place = RBDPlace("rbd:rbd/disk-\(UInt64.random(in: 0 ... .max))")!
    private let a = DiskOwner(host: "a", home: 1)
    private let b = DiskOwner(host: "b", home: 2)

    private func register() throws -> DiskRegister { try DiskRegister(of: store, watch: .seconds(1)) }

    private func rbd(_ arguments: String...) async throws {
        let result = try await Command.run("rbd", ["-c", StoreKind.configuration ?? ""] + arguments)
        try #require(result.status == 0, "\(result.errors)")
    }

    private func claim(_ owner: DiskOwner, isArriving: Bool = false) throws -> DiskClaim {
        let claim = try DiskClaim(
            place, as: "web", of: owner, in: register(), own: MemoryOwnRecords(), isArriving: isArriving)
        // As a node does once the image is open.
        if !isArriving { try claim.markServed(asOf: claim.departures) }
        return claim
    }

    @Test("One host has a disk until another takes it over; what the first does then fails")
    func takenOver() async throws {
        try await rbd("create", "--size", "16M", "rbd/\(place.image)")
        let first = try claim(a)
        #expect(throws: DiskError.noClient(place.description)) { try first.admit() }
        let helper = try await onThread { [scratch, place] in
            try StorageDaemon.start(
                ImageSpecification(place.description, format: nil), StorageDaemon.Options(isReadOnly: false),
                in: scratch.path, report: { _ in })
        }
        try first.admit()
        #expect(throws: DiskError.self) { try claim(b) }
        let old = try register().takeOver("web", by: "b", isForced: false)
        #expect(old.host == "a" && old.state == .served)
        let steps: [() throws -> Void] = [{ try first.admit() }, { try first.markLeaving() }]
        for step in steps {
            #expect(throws: DiskError.lost(image: place.description)) { try step() }
        }
        // The first host comes back, and finds another one in the record.
        #expect(throws: DiskError.self) { try claim(a) }
        let second = try claim(b)
        first.ended(isClean: true)
        withExtendedLifetime(second) {}
        #expect(try register().all().disks.map(\.host) == ["b"])
        #expect(try register().takeOver(place.description, by: "a", isForced: true).host == "b")
        try await onThread { helper.stop() }
    }

    @Test("A disk that arrives, leaves, or whose host lives -> refused in words")
    func refused() async throws {
        try await rbd("create", "--size", "16M", "rbd/\(place.image)")
        let claim = try claim(a, isArriving: true)
        func refusal(_ isForced: Bool = true) throws -> String {
            do { _ = try register().takeOver("web", by: "b", isForced: isForced) } catch { return "\(error)" }
            return "taken over"
        }
        #expect(try refusal().contains("had not arrived completely at 'a'"))
        try claim.markLeaving()
        #expect(try refusal().contains("was moving away"))
        try claim.markServed(asOf: claim.departures)
        try store.files.makeFolder("hosts")
        let (isWatched, hasEnded) = (NIOLockedValueBox(true), DispatchSemaphore(value: 0))
        // A thread of its own, for the look at the beats blocks this one.
        Thread.detachNewThread { [store] in
            for number in 1... as PartialRangeFrom<UInt64> {
                guard isWatched.withLockedValue({ $0 }) else { break }
                try? store.write(
                    HostRecord(host: "a", address: "h:1", instance: 1, beat: number, certificates: [], release: "1"))
                usleep(50_000)
            }
            hasEnded.signal()
        }
        let said = try refusal(false)
        #expect(said.contains("that it lives"), "\(said)")
        isWatched.withLockedValue { $0 = false }
        await withCheckedContinuation { continuation in
            Thread.detachNewThread {
                hasEnded.wait()
                continuation.resume()
            }
        }
        // A record that can't be read may be that of a node that lives.
        try store.files.write(Data("?".utf8), to: "hosts/a/host.json")
        #expect(try refusal(false).contains("hosts/a/host.json is damaged"))
        #expect(try refusal() == "taken over")
        #expect(throws: DiskError.unknown("other", store: store.name)) {
            try register().takeOver("other", by: "b", isForced: true)
        }
        #expect(throws: DiskError.folder("/x")) { try DiskRegister(of: SiteStore(path: "/x")) }
    }

    @Test("Another image of the same name -> the old record says nothing about it")
    func replaced() async throws {
        try await rbd("create", "--size", "16M", "rbd/\(place.image)")
        _ = try claim(a)
        try await rbd("rm", "--no-progress", "rbd/\(place.image)")
        try await rbd("create", "--size", "16M", "rbd/\(place.image)")
        #expect(throws: DiskError.otherImage(place.description)) {
            try register().takeOver("web", by: "b", isForced: true)
        }
        _ = try claim(b)
        #expect(try register().all().disks.map(\.host) == ["b"])
    }

    @Test("The record is removed, and another host makes one -> what the first host does then fails")
    func removedRecord() async throws {
        try await rbd("create", "--size", "16M", "rbd/\(place.image)")
        let first = try claim(a)
        try #require(store.files as? RadosFiles).pool.remove("disks/\(place)")
        // As many records as before.
        let second = try claim(b)
        #expect(throws: DiskError.lost(image: place.description)) { try first.markLeaving() }
        #expect(second.state == .served)
        #expect(try register().all().disks.map(\.host) == ["b"])
    }

    @Test("The image of a disk that moved away gets another name -> refused under that one, too")
    func renamed() async throws {
        try await rbd("create", "--size", "16M", "rbd/\(place.image)")
        try claim(a).markLeaving()
        try await rbd("rename", "rbd/\(place.image)", "rbd/\(place.image)-new")
        let new = RBDPlace("\(place)-new")!
        let error = #expect(throws: DiskError.self) {
            try DiskClaim(new, as: "web", of: b, in: register(), own: MemoryOwnRecords(), isArriving: false)
        }
        #expect(error.map { "\($0)" }?.contains("knows as \(place)") == true)
        #expect(try register().all().disks.map(\.image) == [place.description])
    }

    @Test("The record of a disk is damaged -> nobody opens it or takes it over, and the line says what to see first")
    func damaged() async throws {
        try await rbd("create", "--size", "16M", "rbd/\(place.image)")
        _ = try claim(a)
        try store.files.write(Data("?".utf8), to: "disks/\(place)")
        let error = DiskError.isDamaged(place.description, record: "\(store.name)/disks/\(place)")
        #expect(throws: error) { try claim(a) }
        #expect(throws: error) { try register().takeOver(place.description, by: "b", isForced: true) }
        #expect(throws: error) { try register().takeOver("web", by: "b", isForced: true) }
        // The others are listed, and can be taken over.
        let second = RBDPlace("\(place)-second")!
        try await rbd("create", "--size", "16M", "rbd/\(second.image)")
        let other = try DiskClaim(
            second, as: "second", of: b, in: register(), own: MemoryOwnRecords(), isArriving: false)
        try other.markServed(asOf: 0)
        let (disks, problems) = try register().all()
        #expect(disks.map(\.export) == ["second"] && problems.map { "\($0)" } == ["\(error)"])
        try store.establish(blockSize: 4096)
        let report = try SiteReport(of: store)
        #expect(report.disks?.map(\.export) == ["second"] && report.problems.contains("\(error)"))
        #expect(try register().takeOver("second", by: "a", isForced: true).host == "b")
    }

    @Test("An image with journaling -> refused, with the command that ends it")
    func journaling() async throws {
        let features = "layering,exclusive-lock,journaling"
        try await rbd("create", "--size", "16M", "--image-feature", features, "rbd/\(place.image)")
        let error = #expect(throws: DiskError.self) { try claim(a) }
        #expect(error.map { "\($0)" }?.contains("rbd feature disable rbd/\(place.image) journaling") == true)
        try await rbd("feature", "disable", "rbd/\(place.image)", "journaling")
        _ = try claim(a)
    }

    @Test("An image without exclusive-lock -> refused")
    func noLock() async throws {
        try await rbd("create", "--size", "16M", "--image-feature", "layering", "rbd/\(place.image)")
        #expect(throws: DiskError.noLock(place.description)) { try claim(a) }
    }

    @Test("An image in a namespace -> the barrier asks for the objects of that image")
    func namespaces() async throws {
        let (space, image) = ("n\(UInt64.random(in: 0 ... .max))", place.image)
        try await rbd("namespace", "create", "rbd/\(space)")
        try await rbd("create", "--size", "16M", "rbd/\(space)/\(image)")
        try await rbd("bench", "--io-type", "write", "--io-size", "4096", "--io-total", "4096", "rbd/\(space)/\(image)")
        let pool = RadosPool(RadosPlace(pool: "rbd", namespace: space))
        let layout = try RBDBarrier.Layout(of: image, in: pool)
        for (namespace, wanted) in [(space, 1), ("", 0)] {
            var found = -1
            _ = try pool.callCluster("test") { library, cluster, context in
                let passed = RBDBarrier(layout: layout, namespace: namespace, library: library).pass(cluster, context)
                found = passed.found
                return passed.code
            }
            #expect(found == wanted)
        }
    }
}
