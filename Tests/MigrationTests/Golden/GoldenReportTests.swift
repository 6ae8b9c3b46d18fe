import Foundation
import Testing

@testable import Migration
@testable import MigrationProtocol

/// What scripts read of a migration: `nearblock migrate --json`, `--dry-run --json`, and the progress on the control socket.
@Suite("Golden: reports")
struct GoldenReportTests {
    private static let ledger = Ledger(zero: 1, present: 2, repeated: 3, neighbour: 4, link: 5)
    private static let ledgerText = #"{"link":5,"neighbour":4,"present":2,"repeated":3,"zero":1}"#
    private static let wire = WireBytes(data: 6, fingerprints: 7, control: 8, total: 21)
    private static let wireText = #"{"control":8,"data":6,"fingerprints":7,"total":21}"#

    /// As `nearblock` prints it.
    private func text(_ value: some Encodable) throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return String(decoding: try encoder.encode(value), as: UTF8.self)
    }

    /// Both ways: the program prints what it has read from the node.
    private func expect<Value: Codable>(_ value: Value, _ golden: String) throws {
        #expect(try text(value) == golden)
        #expect(try text(JSONDecoder().decode(Value.self, from: Data(golden.utf8))) == golden)
    }

    @Test("The report of a migration")
    func report() throws {
        try expect(
            MigrationReport(
                export: "disk", state: "complete", size: 1 << 40, root: GoldenValues.rootHex, rounds: 3,
                ledger: Self.ledger, resent: 9, wire: Self.wire,
                seconds: .init(total: 10.5, precopy: 8.25, pause: 0.125, postcopy: 2)),
            #"{"export":"disk","ledger":\#(Self.ledgerText),"resent":9,"root":"\#(GoldenValues.rootHex)","rounds":3,"#
                + #""seconds":{"pause":0.125,"postcopy":2,"precopy":8.25,"total":10.5},"size":1099511627776,"#
                + #""state":"complete","wire":\#(Self.wireText)}"#)
    }

    @Test("An estimate, whose time is left out where it is not known", arguments: [nil, 1.5] as [Double?])
    func estimate(_ total: Double?) throws {
        let seconds = total.map { #"{"total":\#($0)}"# } ?? "{}"
        try expect(
            MigrationEstimate(
                export: "disk", size: 4096, ledger: Self.ledger, wire: Self.wire, seconds: .init(total: total)),
            #"{"export":"disk","ledger":\#(Self.ledgerText),"seconds":\#(seconds),"size":4096,"state":"estimated","#
                + #""wire":\#(Self.wireText)}"#)
    }

    @Test("The progress of a migration, with and without the time that is left", arguments: [nil, 1.5] as [Double?])
    func progress(_ left: Double?) throws {
        var progress = MigrationProgress()
        progress.phase = "post-copy"
        progress.round = 2
        progress.done = 3
        progress.total = 4
        progress.wire = 5
        progress.dirty = 6
        progress.dirtyRate = 7.5
        progress.linkRate = 8.5
        progress.secondsLeft = left
        progress.ledger = Self.ledger
        let seconds = left.map { #""secondsLeft":\#($0),"# } ?? ""
        try expect(
            progress,
            #"{"dirty":6,"dirtyRate":7.5,"done":3,"ledger":\#(Self.ledgerText),"linkRate":8.5,"phase":"post-copy","#
                + #""round":2,\#(seconds)"total":4,"wire":5}"#)
    }

    @Test(
        "When a disk is switched over",
        arguments: zip(Switchover.allCases, ["converged", "first-write", "manual", "now"]))
    func switchover(_ value: Switchover, _ name: String) throws {
        try expect(value, "\"\(name)\"")
    }
}
