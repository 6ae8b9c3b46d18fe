import Foundation
import TestSupport
import Testing

@testable import Site

@Suite("The lease of the merger")
struct MergeLeaseTests {
    private let scratch = Scratch()

    @Test("One holder at a time; one that is gone for a minute loses it; one that comes back finds that out")
    func holders() throws {
        let store = FolderFiles(name: scratch.path)
        var (a, b) = (MergeLease(host: "a"), MergeLease(host: "b"))
        let start = ContinuousClock.now
        #expect(try a.hold(in: store, now: start))
        #expect(try !b.hold(in: store, now: start))
        #expect(try a.hold(in: store, now: start + .seconds(50)))
        // The beat has changed, so the minute begins again.
        #expect(try !b.hold(in: store, now: start + .seconds(61)))
        #expect(try !b.hold(in: store, now: start + .seconds(120)))
        #expect(try b.hold(in: store, now: start + .seconds(121)))
        #expect(!a.isHeld(in: store) && b.isHeld(in: store))
        #expect(try !a.hold(in: store, now: start + .seconds(122)))
        b.release(in: store)
        #expect(try a.hold(in: store, now: start + .seconds(123)))
        #expect(try FileManager.default.contentsOfDirectory(atPath: scratch.path) == ["merge.lease"])
    }

    @Test("A damaged lease -> taken")
    func damaged() throws {
        let store = FolderFiles(name: scratch.path)
        try Data("?".utf8).write(to: URL(fileURLWithPath: store.leasePath))
        var a = MergeLease(host: "a")
        #expect(try a.hold(in: store, now: .now))
    }
}
