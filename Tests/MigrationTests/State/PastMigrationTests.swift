import MigrationCore
import Peer
import PeerModel
import TestSupport
import Testing

@testable import Migration
@testable import MigrationProtocol

/// The ends of migrations: their words, and the record of them.
@Suite("Ends of migrations")
struct PastMigrationTests {
    @Test("Errors -> their words")
    func words() {
        let root = DiskRoot([UInt8](repeating: 0, count: 32))
        let cases: [(any Error, MigrationOutcome)] = [
            (MigrationError.rootsDiffer(source: root, destination: root), .different),
            (MigrationError.noRoom("why"), .full), (MigrationError.refused("why"), .refused),
            (MigrationError.noCommonVersion(source: 1...2, destination: 3...4), .refused),
            (MigrationError.tooSlow, .unreachable), (MigrationError.stoppingPostcopy, .unfinished),
            (MigrationError.stopping, .unfinished), (MigrationError.cancelled, .cancelled),
            (MigrationError.refused(ArrivalCancel.reason), .cancelled),
            (MigrationError.peerFailed(ArrivalCancel.reason), .cancelled), (MigrationError.peerFailed("why"), .failed),
            (MigrationError.unexpected("why"), .failed), (PeerError.cut, .unreachable),
            (PeerError.unreachable(PeerAddress(host: "b", port: 7), reason: "why"), .unreachable),
            (PeerError.certificates("why"), .failed), (CancellationError(), .cancelled),
        ]
        for (error, outcome) in cases { #expect(MigrationOutcome(of: error) == outcome, "\(error)") }
    }

    @Test("More ends than are kept, with long reasons -> the latest, cut short; read back the same")
    func bounded() throws {
        let scratch = Scratch()
        let directory = try StateDirectory(path: scratch.file("state"))
        var past = try PastMigrations(from: directory)
        for number in 0..<PastMigrations.limit + 5 {
            past.add(
                PastMigration(of: "d\(number)", to: "b:7", .failed, problem: String(repeating: "é", count: 9999)))
        }
        #expect(past.migrations.count == PastMigrations.limit && past.migrations[0].export == "d5")
        #expect(past.migrations.allSatisfy { $0.problem?.utf8.count ?? 0 <= 1024 })
        #expect(past.latest(of: "d7") != nil && past.latest(of: "d4") == nil)
        try past.write(to: directory)
        #expect(try PastMigrations(from: directory).migrations.map(\.export) == past.migrations.map(\.export))
    }

    @Test("A damaged record -> an error that names it")
    func damaged() throws {
        let scratch = Scratch()
        _ = try scratch.write([UInt8]("{".utf8), to: "completed.json")
        #expect(throws: DamagedRecord.self) { try PastMigrations(from: StateDirectory(path: scratch.path)) }
    }
}
