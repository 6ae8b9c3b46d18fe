import Testing

@testable import Migration
@testable import MigrationProtocol

@Suite("The record of a disk that has come")
struct IncomingRecordTests {
    private func record(_ migration: MigrationID = MigrationID()) -> IncomingRecord {
        IncomingRecord(phase: .prepared, migration: migration, export: "disk", size: 4096, root: "")
    }

    @Test("A disk comes back -> who forwarded to its latest 64 lives is known, and who has an alias")
    func comesBack() {
        let lives = (0..<100).map { _ in MigrationID() }
        let alias = MigrationID()
        var last: IncomingRecord?
        for life in lives {
            var next = record(life)
            next.comeBack(into: "/disks/a.raw", movedBy: alias, last: last)
            next.aliases = [alias]
            last = next
        }
        var now = record()
        now.comeBack(into: "/disks/a.raw", movedBy: lives[99], last: last)
        #expect(now.isReturning && now.imagePath == "/disks/a.raw" && now.supersedes == lives[99])
        #expect(now.earlier == Array(lives.reversed().prefix(64)))
        #expect(now.known == [now.migration] + Array(lives.reversed().prefix(64)) + [alias])
    }

    @Test("Nothing is known of an earlier life -> only the image is that of a disk that comes back")
    func firstLife() {
        var now = record()
        now.comeBack(into: "/disks/a.raw", movedBy: MigrationID(), last: nil)
        #expect(now.isReturning && now.known == [now.migration])
    }
}
