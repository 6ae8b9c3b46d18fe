import ArgumentParser
import Configuration
import Daemon
import Glibc
import Migration
import MigrationProtocol
import Peer
import PeerModel

/// `nearblock migrate`.
struct MigrateDiskCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "migrate",
        abstract: "Migrate a disk, or all disks of a guest, to another node while they are in use.",
        usage: "nearblock migrate <exports> ... --to <host:port> [<options>]",
        discussion: HelpText.text(
            """
            Waits for the end, and succeeds only if both nodes compute the same root hash. The node's clients stay \
            connected; after the switchover their requests are forwarded to the destination. Several disks are \
            switched over at one moment, or none is. Until then, `nearblock cancel` leaves everything as it was. \
            Ctrl-C ends only this command: the migration goes on in the node. --help-hidden shows the rarer options, too.
            """,
            examples: "nearblock migrate web --to b.example:7000",
            "nearblock migrate root data --to b.example:7000 --rate 100M --switch manual"))

    @Argument(
        help: "Exports to migrate: the disks of one guest, at most 16.", completion: ExportNames.completion)
    var exports: [String]
    @Option(
        parsing: .singleValue,
        help: ArgumentHelp(
            "Address that the destination has as --peer-listen; of several, the one that has most of the disks and room "
                + "for them is taken.", valueName: "host:port"))
    var to: [PeerAddress]
    @Option(
        name: .customLong("switch"),
        help: ArgumentHelp(
            "When to switch over: as soon as the expected downtime is short enough (converged), at the first write "
                + "at the destination (first-write), on nearblock switch (manual), or at once (now). Missing blocks "
                + "follow by post-copy (default: converged; with --memory first-write).", valueName: "when"))
    var switchover: Switchover?
    @Option(
        help: ArgumentHelp("Send at most this many bits a second, as in 100M.", valueName: "rate"),
        transform: BitRate.init)
    var rate: BitRate?
    @Option(
        help: ArgumentHelp(
            "Longest downtime at the switchover, as in 200ms (default: twice the link's round trip "
                + "plus 50ms).", valueName: "time"), transform: TimeSpan.init)
    var maxPause: TimeSpan?
    @Option(
        help: ArgumentHelp(
            "Switch over after at most this many rounds (converged); missing blocks follow by post-copy.",
            valueName: "count", visibility: .hidden))
    var maxRounds: Int?
    @Option(
        help: ArgumentHelp(
            "Switch over once no more than this is left to send, as in 4M, whatever the downtime.", valueName: "size",
            visibility: .hidden),
        transform: ByteCount.init)
    var dirtyThreshold: ByteCount?
    @Option(
        name: .customLong("domain"), parsing: .singleValue,
        help: ArgumentHelp(
            "Use only the destination's neighbours of this domain; may be repeated (default: all).",
            valueName: "name", visibility: .hidden))
    var domains: [String] = []
    @Flag(
        help: """
            Ask the destination what it has of the disks, and print what a migration would take; nothing moves. Time \
            and compression are estimated for a link of --rate.
            """)
    var dryRun = false
    @Flag(
        help: """
            First punch the free blocks of the disks, as nearblock trim does; only where no client is connected.
            """)
    var trim = false
    @Flag(
        help: ArgumentHelp(
            "Start even if the destination seems to have too little space; zeros on a device need none.",
            visibility: .hidden))
    var noSpaceCheck = false
    @Flag(help: "Return as soon as the migration has started.")
    var detach = false
    @Flag(help: "Print one JSON object in a line for each disk on standard output at the end.")
    var json = false
    @Option(
        help: ArgumentHelp(
            "Progress: line (on a terminal), none, or json (with --json, an object in a line on standard output about "
                + "four times a second, before the report).", valueName: "form", visibility: .hidden))
    var progress = ProgressForm.line
    @OptionGroup(visibility: .hidden) var memory: MemoryOptions
    @OptionGroup var node: ControlOption

    /// Form of the progress.
    enum ProgressForm: String, CaseIterable, ExpressibleByArgument {
        case line
        case none
        case json
    }

    /// The object of `--progress json`.
    struct ProgressLine: Encodable {
        let version = 1
        let progress: MigrationProgress
    }

    func validate() throws {
        guard progress != .json || (json && !dryRun && !detach) else {
            throw ValidationError("--progress json needs --json, and a migration that is waited for.")
        }
    }

    func run() async throws {
        var command = MigrateCommand(
            exports: exports, destination: to[0],
            switchover: switchover ?? (memory.isGiven ? .firstWrite : .converged), rate: rate?.bitsPerSecond,
            maximumPause: maxPause?.seconds, detach: detach)
        command.others = to.count > 1 ? Array(to.dropFirst()) : nil
        command.domains = domains
        command.memory = memory.request
        command.maximumRounds = maxRounds
        command.dirtyThreshold = dirtyThreshold?.bytes
        command.skipsSpaceCheck = noSpaceCheck ? true : nil
        if trim {
            for export in exports {
                try await TrimRun(export: export, isDryRun: dryRun, node: node).run().lines.forEach {
                    Terminal.report($0)
                }
            }
        }
        if dryRun { return try await estimate(command) }
        let interruption = detach ? nil : MigrationInterruption(of: exports, control: node.control)
        defer { interruption?.end() }
        let form = progress
        let reply = try await node.follow(.migrate(command)) { reply in
            Self.report(reply)
            guard case .progress(let progress) = reply else { return }
            interruption?.markBegun()
            switch form {
            case .line: Terminal.progress(MigrationRow.parts(progress))
            case .json:
                try? JSON.print(ProgressLine(progress: progress))
                // Otherwise a pipe gets it only at the end.
                fflush(nil)
            case .none: break
            }
        }
        Terminal.endProgress()
        guard case .reports(let reports) = reply else { return }
        try LedgerTable.print(reports, asJSON: json)
    }

    /// Tells which of several destinations was chosen.
    @Sendable
    private static func report(_ reply: ControlReply) {
        guard case .placed(let placement) = reply else { return }
        Terminal.report(PlainText.line(placement.line(Format.bytes)))
    }

    private func estimate(_ command: MigrateCommand) async throws {
        let reply = try await node.ask(.estimate(command), progress: Self.report)
        guard case .estimates(let estimates) = reply else { return }
        for estimate in estimates {
            if json {
                try JSON.print(estimate)
            } else {
                for line in LedgerTable(estimate: estimate).lines { print(line) }
            }
        }
    }
}
