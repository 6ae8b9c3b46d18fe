import Foundation
import Peer
import Testing

@testable import Daemon
@testable import Migration
@testable import MigrationProtocol
@testable import PeerModel

/// Golden lines of the control socket, which a program of one release exchanges with a node of another, and of
/// `nearblock status --json`.
@Suite("Golden: control socket")
struct GoldenControlTests {
    private static let commandText =
        #"{"destination":{"host":"b","port":7},"detach":true,"dirtyThreshold":4096,"domains":["shop"],"#
        + #""exports":["disk"],"maximumPause":0.5,"maximumRounds":3,"rate":100000000,"skipsSpaceCheck":true,"#
        + #""switchover":"first-write"}"#
    private static let shortCommandText =
        #"{"destination":{"host":"b","port":7},"detach":false,"domains":[],"exports":["a","b"],"switchover":"converged"}"#

    private static var command: MigrateCommand {
        var command = MigrateCommand(
            exports: ["disk"], destination: PeerAddress(host: "b", port: 7), switchover: .firstWrite, rate: 100_000_000,
            maximumPause: 0.5, detach: true)
        command.domains = ["shop"]
        command.maximumRounds = 3
        command.dirtyThreshold = 4096
        command.skipsSpaceCheck = true
        return command
    }

    private static let progressText =
        #"{"dirty":0,"dirtyRate":0,"done":0,"ledger":{"link":0,"neighbour":0,"present":0,"repeated":0,"zero":0},"#
        + #""linkRate":0,"phase":"connecting","round":0,"total":0,"wire":0}"#
    private static let statusText =
        #"{"destination":"b:7","export":"disk","failures":[{"count":2,"error":"EIO","request":"read"}],"missing":3,"#
        + #""problem":"why","progress":\#(progressText),"readOnly":true,"secondsLeft":1.5,"size":4096,"state":"active","#
        + #""trimmed":8192}"#

    private static let status = ExportStatus(
        export: "disk", size: 4096, readOnly: true, state: "active", destination: "b:7", progress: MigrationProgress(),
        missing: 3, secondsLeft: 1.5, problem: "why",
        failures: [FailedRequests(request: "read", error: "EIO", count: 2)], trimmed: 8192)

    private static let report = MigrationReport(
        export: "d", state: "complete", size: 1, root: "r", rounds: 1, ledger: Ledger(), resent: 0, wire: WireBytes(),
        seconds: .init())
    private static let reportText =
        #"{"export":"d","ledger":{"link":0,"neighbour":0,"present":0,"repeated":0,"zero":0},"resent":0,"root":"r","#
        + #""rounds":1,"seconds":{"pause":0,"postcopy":0,"precopy":0,"total":0},"size":1,"state":"complete","#
        + #""wire":{"control":0,"data":0,"fingerprints":0,"total":0}}"#
    private static let estimate = MigrationEstimate(
        export: "d", size: 1, ledger: Ledger(), wire: WireBytes(), seconds: .init(total: 2))
    private static let estimateText =
        #"{"export":"d","ledger":{"link":0,"neighbour":0,"present":0,"repeated":0,"zero":0},"seconds":{"total":2},"#
        + #""size":1,"state":"estimated","wire":{"control":0,"data":0,"fingerprints":0,"total":0}}"#

    private static var reload: ReloadReport {
        var report = ReloadReport()
        report.notes = ["a is offered"]
        report.problems = ["why"]
        return report
    }
    private static let past = PastMigration(
        of: "d", to: "b:7", .failed, problem: "why", at: Date(timeIntervalSince1970: 0))
    private static let pastText =
        #"{"destination":"b:7","ended":"1970-01-01T00:00:00Z","export":"d","problem":"why","state":"failed"}"#
    private static let list = ExportList(
        exports: [
            .init(
                export: "d", origin: "arrived", condition: "serving", size: 1, image: "/d", readOnly: false, clients: 2)
        ],
        leftovers: [.init(kind: "incoming", export: "e", file: "/e", allocated: 3, advice: "what")])
    private static let listText =
        #"{"exports":[{"clients":2,"condition":"serving","export":"d","image":"/d","origin":"arrived","readOnly":false,"#
        + #""size":1}],"leftovers":[{"advice":"what","allocated":3,"export":"e","file":"/e","kind":"incoming"}]}"#

    private static let trimmed = TrimReport(
        export: "d", dryRun: false,
        parts: [.init(start: 1, size: 2, fileSystem: "xfs", free: 3, data: 4, punched: 5, problem: nil)])
    private static let trimmedText =
        #"{"dryRun":false,"export":"d","parts":[{"data":4,"fileSystem":"xfs","free":3,"punched":5,"size":2,"start":1}]}"#

    private static var severalTo: MigrateCommand {
        var command = MigrateCommand(
            exports: ["disk"], destination: PeerAddress(host: "b", port: 7), rate: nil, detach: false)
        command.others = [PeerAddress(host: "c", port: 8)]
        return command
    }
    private static let severalText =
        #"{"destination":{"host":"b","port":7},"detach":false,"domains":[],"exports":["disk"],"#
        + #""others":[{"host":"c","port":8}],"switchover":"converged"}"#
    private static let placement = Placement(
        chosen: PeerAddress(host: "b", port: 7),
        answers: [
            .init(destination: PeerAddress(host: "b", port: 7), wire: 5, problem: nil),
            .init(destination: PeerAddress(host: "c", port: 8), wire: nil, problem: "why"),
        ])
    private static let placementText =
        #"{"answers":[{"destination":{"host":"b","port":7},"wire":5},"#
        + #"{"destination":{"host":"c","port":8},"problem":"why"}],"chosen":{"host":"b","port":7}}"#
    private static let similarity = SiteSimilarity(
        disk: "d", size: 6, zero: 1, repeated: 2,
        sites: [
            .init(
                store: "/s", found: 1, link: 2, data: 1,
                hosts: [.init(host: "a", address: "a:7", alive: true, found: 1, borrowed: 0)])
        ], problems: ["why"])
    private static let similarityText =
        #"{"disk":"d","problems":["why"],"repeated":2,"sites":[{"data":1,"found":1,"#
        + #""hosts":[{"address":"a:7","alive":true,"borrowed":0,"found":1,"host":"a"}],"link":2,"store":"/s"}],"#
        + #""size":6,"zero":1}"#

    private func text(_ value: some Encodable) throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return String(decoding: try encoder.encode(value), as: UTF8.self)
    }

    /// Encodes a value, then decodes and encodes it again: decoding must lose nothing.
    private func expect<Value: Codable>(_ value: Value, _ golden: String) throws {
        #expect(try text(value) == golden)
        #expect(try text(JSONDecoder().decode(Value.self, from: Data(golden.utf8))) == golden)
    }

    @Test(
        "Each request",
        arguments: [
            (.status, #"{"status":{}}"#),
            (.migrate(command), #"{"migrate":{"_0":\#(commandText)}}"#),
            (.estimate(command), #"{"estimate":{"_0":\#(commandText)}}"#),
            (.cancel(export: "disk"), #"{"cancel":{"export":"disk"}}"#),
            (.cancel(export: "disk", isSourceGone: true), #"{"cancel":{"export":"disk","isSourceGone":true}}"#),
            (.switchOver(export: "disk"), #"{"switchOver":{"export":"disk"}}"#),
            (.checkpoint(export: "disk", hasFailed: true), #"{"checkpoint":{"export":"disk","hasFailed":true}}"#),
            (.resize(export: "disk", size: 8192), #"{"resize":{"export":"disk","size":8192}}"#),
            (.resize(export: "disk", size: nil), #"{"resize":{"export":"disk"}}"#),
            (.rate(export: "disk", bitsPerSecond: 5), #"{"rate":{"bitsPerSecond":5,"export":"disk"}}"#),
            (.rate(export: "disk", bitsPerSecond: nil), #"{"rate":{"export":"disk"}}"#),
            (.reload, #"{"reload":{}}"#),
            (.completed, #"{"completed":{}}"#),
            (.wait(export: nil), #"{"wait":{}}"#),
            (.wait(export: "disk", isSwitchEnough: true), #"{"wait":{"export":"disk","isSwitchEnough":true}}"#),
            (.exports, #"{"exports":{}}"#),
            (.forget(export: "disk"), #"{"forget":{"export":"disk"}}"#),
            (
                .trim(export: "disk", isDryRun: false, isGuestOff: true),
                #"{"trim":{"export":"disk","isDryRun":false,"isGuestOff":true}}"#
            ),
            (.trim(export: "disk", isDryRun: true, isGuestOff: nil), #"{"trim":{"export":"disk","isDryRun":true}}"#),
            (
                .similarity(export: "disk", sites: ["/s"], domains: ["shop"]),
                #"{"similarity":{"domains":["shop"],"export":"disk","sites":["/s"]}}"#
            ),
            (.migrate(severalTo), #"{"migrate":{"_0":\#(severalText)}}"#),
        ] as [(ControlRequest, String)])
    func requests(_ request: ControlRequest, _ golden: String) throws { try expect(request, golden) }

    @Test(
        "Each reply",
        arguments: [
            (.progress(MigrationProgress()), #"{"progress":{"_0":\#(progressText)}}"#),
            (.reports([report]), #"{"reports":{"_0":[\#(reportText)]}}"#),
            (.estimates([estimate]), #"{"estimates":{"_0":[\#(estimateText)]}}"#),
            (.status([status]), #"{"status":{"_0":[\#(statusText)]}}"#),
            (.reloaded(reload), #"{"reloaded":{"_0":{"notes":["a is offered"],"problems":["why"]}}}"#),
            (.status([], arriving: [status]), #"{"status":{"_0":[],"arriving":[\#(statusText)]}}"#),
            (.done, #"{"done":{}}"#),
            (.failed("why"), #"{"failed":{"_0":"why"}}"#),
            (.failed("why", kind: "full"), #"{"failed":{"_0":"why","kind":"full"}}"#),
            (.completed([past]), #"{"completed":{"_0":[\#(pastText)]}}"#),
            (.exports(list), #"{"exports":{"_0":\#(listText)}}"#),
            (.forgotten(image: "/a"), #"{"forgotten":{"image":"/a"}}"#),
            (.forgotten(image: "/a", remaining: ["/r"]), #"{"forgotten":{"image":"/a","remaining":["/r"]}}"#),
            (.forgotten(image: "/a", removed: ["/r"]), #"{"forgotten":{"image":"/a","removed":["/r"]}}"#),
            (.trimming(TrimProgress(done: 1, total: 2)), #"{"trimming":{"_0":{"done":1,"total":2}}}"#),
            (.trimmed(trimmed), #"{"trimmed":{"_0":\#(trimmedText)}}"#),
            (.placed(placement), #"{"placed":{"_0":\#(placementText)}}"#),
            (.similarity(similarity), #"{"similarity":{"_0":\#(similarityText)}}"#),
        ] as [(ControlReply, String)])
    func replies(_ reply: ControlReply, _ golden: String) throws { try expect(reply, golden) }

    @Test(
        "The memory of a guest, in each state",
        arguments: [
            (.waiting, "waiting"), (.relaying, "relaying"), (.ended, "ended"), (.failed, "failed"),
        ] as [(MemoryStatus.State, String)])
    func memory(_ state: MemoryStatus.State, _ text: String) throws {
        var status = MemoryStatus(name: "vm")
        (status.state, status.stream, status.problem) = (state, 5, "why")
        try expect(
            ControlReply.memory(status),
            #"{"memory":{"_0":{"disk":0,"link":0,"name":"vm","other":0,"problem":"why","repeated":0,"#
                + #""state":"\#(text)","stream":5,"wire":0,"zero":0}}}"#)
    }

    @Test("A status without optional values")
    func shortStatus() throws {
        try expect(
            ExportStatus(export: "", size: 1, readOnly: false, state: "serving"),
            #"{"export":"","readOnly":false,"size":1,"state":"serving"}"#)
    }

    @Test("A status with what later releases added")
    func longStatus() throws {
        var status = ExportStatus(export: "d", size: 1, readOnly: false, state: "active")
        (status.condition, status.clients, status.missingBytes, status.sourceNeeded) = ("active", 2, 3, true)
        status.lastMigration = LastMigration(Self.past)
        try expect(
            status,
            #"{"clients":2,"condition":"active","export":"d","lastMigration":{"destination":"b:7","#
                + #""ended":"1970-01-01T00:00:00Z","problem":"why","state":"failed"},"missingBytes":3,"readOnly":false,"#
                + #""size":1,"sourceNeeded":true,"state":"active"}"#)
    }

    @Test("A migrate command without options")
    func shortCommand() throws {
        try expect(
            MigrateCommand(
                exports: ["a", "b"], destination: PeerAddress(host: "b", port: 7), rate: nil, detach: false),
            Self.shortCommandText)
    }

    @Test("The record of a migration that a restarted node resumes")
    func kept() throws {
        try expect(
            KeptMigration(export: "disk", command: Self.command), #"{"command":\#(Self.commandText),"export":"disk"}"#)
    }
}
