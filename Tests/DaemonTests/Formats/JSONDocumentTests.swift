import Foundation
import TestSupport
import Testing

@testable import Daemon
@testable import Migration
@testable import MigrationProtocol

/// `docs/json.md` has each key that is written, and no other.
@Suite("JSON: the document", .timeLimit(.minutes(10)))
struct JSONDocumentTests {
    /// The first cells of each section's table, without backquotes, by the section's heading.
    private static let sections: [String: Set<String>] = {
        let root = URL(fileURLWithPath: #filePath).pathComponents.dropLast(4).joined(separator: "/")
        let text = (try? String(contentsOfFile: "\(root)/docs/json.md", encoding: .utf8)) ?? ""
        var sections: [String: Set<String>] = [:]
        var heading = ""
        for line in text.split(separator: "\n") {
            if line.hasPrefix("## ") { heading = String(line.dropFirst(3)) }
            guard line.hasPrefix("| `"), let cell = line.split(separator: "`").dropFirst().first else { continue }
            sections[heading, default: []].insert(String(cell))
        }
        return sections
    }()

    private func object(_ value: some Encodable) throws -> [String: Any] {
        try #require(try JSONSerialization.jsonObject(with: JSONEncoder().encode(value)) as? [String: Any])
    }

    /// Compares a value, all of whose optional properties are set, with a section.
    private func expect(_ value: some Encodable, _ section: String) throws {
        let keys = Set(try object(value).keys)
        #expect(keys == Self.sections[section], "\(section)")
        #expect(keys == Set(Mirror(reflecting: value).children.compactMap(\.label)), "\(section): set all properties")
    }

    private static var memory: MemoryStatus {
        var memory = MemoryStatus(name: "vm")
        memory.problem = "why"
        return memory
    }

    private static var report: MigrationReport {
        MigrationReport(
            export: "d", state: "complete", size: 1, root: "r", rounds: 1, ledger: Ledger(),
            free: FreeBytes(known: 1, sent: 1), resent: 0, wire: WireBytes(), seconds: .init(), memory: memory)
    }

    private static var progress: MigrationProgress {
        var progress = MigrationProgress()
        (progress.secondsLeft, progress.free) = (1, FreeBytes(known: 1, sent: 1))
        return progress
    }

    private static let past = PastMigration(of: "d", to: "b:7", .complete, problem: "why", report: report)
    private static let arrival = ArrivalProgressStatus(
        ArrivalStatus(
            export: "d", size: 1, present: 1, bytesPerSecond: 1, linkRate: 1, secondsLeft: 1, source: "::1"))

    private static var status: ExportStatus {
        var status = ExportStatus(
            export: "d", size: 1, readOnly: false, state: "active", destination: "b:7", progress: progress, missing: 1,
            secondsLeft: 1, problem: "why", failures: [FailedRequests(request: "read", error: "EIO", count: 1)],
            memory: memory, trimmed: 1)
        (status.condition, status.clients, status.missingBytes, status.sourceNeeded) = ("active", 1, 1, true)
        (status.arrival, status.lastMigration) = (arrival, LastMigration(past))
        return status
    }

    @Test("Status, progress and migrations")
    func status() throws {
        try expect(Self.status, "export")
        try expect(Self.progress, "progress")
        try expect(Self.arrival, "arrival")
        try expect(LastMigration(Self.past), "last migration")
        try expect(Self.past, "past migration")
        try expect(Self.report, "report")
        try expect(Self.report.seconds, "seconds")
        try expect(Ledger(), "ledger")
        try expect(WireBytes(), "wire")
        try expect(FreeBytes(known: 1, sent: 1), "free")
        try expect(FailedRequests(request: "read", error: "EIO", count: 1), "failed requests")
        try expect(Self.memory, "memory")
        try expect(
            MigrationEstimate(
                export: "d", size: 1, ledger: Ledger(), free: FreeBytes(known: 1), wire: WireBytes(),
                seconds: .init(total: 1), to: "b:7"),
            "estimate")
        #expect(Set(ExportCondition.allCases.map(\.rawValue)) == Self.sections["conditions"])
        #expect(Set(MigrationOutcome.allCases.map(\.rawValue)) == Self.sections["ends of migrations"])
    }

    @Test("A trim")
    func trim() throws {
        let part = TrimReport.Part(
            start: 1, size: 1, fileSystem: "xfs", free: 1, data: 1, punched: 1, problem: "why")
        try expect(part, "trimmed part")
        try expect(TrimReport(export: "d", dryRun: false, parts: [part]), "trim")
    }

    @Test("The similarity of a disk and sites")
    func similarity() throws {
        let host = SiteSimilarity.Host(host: "a", address: "a:7", alive: true, found: 1, borrowed: 1)
        let site = SiteSimilarity.Place(store: "/s", found: 1, link: 1, data: 1, hosts: [host])
        try expect(host, "similar host")
        try expect(site, "similar site")
        try expect(
            SiteSimilarity(disk: "d", size: 1, zero: 1, repeated: 1, sites: [site], problems: ["why"]),
            "site similarity")
    }

    @Test("The list of exports")
    func exports() throws {
        try expect(
            ExportList.Entry(
                export: "d", origin: "arrived", condition: "serving", size: 1, image: "/d", readOnly: false, clients: 1),
            "listed export")
        try expect(
            ExportList.Leftover(kind: "incoming", export: "e", file: "/e", allocated: 1, advice: "what"), "leftover")
    }

    @Test("The whole lines of the program")
    func lines() async throws {
        let scratch = Scratch()
        let image = try scratch.write([UInt8](repeating: 7, count: 8192), to: "a.raw")
        let node = try await NodeProcess(scratch.file("node"), [image, "--export", "disk"])
        func compare(_ arguments: [String], _ section: String) async throws {
            let result = try await Nearblock.run(arguments + ["--json"])
            let object = try JSONSerialization.jsonObject(with: Data(result.output.utf8)) as? [String: Any]
            let keys = Set((object ?? [:]).keys)
            let documented = try #require(Self.sections[section])
            #expect(keys.isSubset(of: documented), "\(arguments): \(result)")
            #expect(documented.subtracting(keys).isSubset(of: ["memoryDirectory", "host"]), "\(arguments): \(result)")
        }
        let control = ["--control", node.control]
        let index = ["--index", scratch.file("index")]
        try await compare(["status"] + control, "status")
        try await compare(["status", "--completed"] + control, "completed")
        try await compare(["export", "list"] + control, "export list")
        try await compare(["index", "add", image] + index, "neighbour")
        try await compare(["index", "similarity", image] + index, "similarity")
        try await compare(["index", "stats"] + index, "index stats")
    }
}
