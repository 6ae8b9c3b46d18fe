import ArgumentParser
import Configuration
import Daemon
import Migration
import Peer

/// `nearblock migrate`.
struct MigrateDiskCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "migrate",
        abstract: "Move a disk, or all disks of a guest, to another node while they are in use.",
        discussion: """
            Waits for the end and succeeds only when both sides have come to the same root hash. The node's clients \
            stay connected; their requests are forwarded to the destination from then on. Several disks are handed \
            over at one moment, or none of them is. Until then, `nearblock cancel` leaves everything as it was. \
            Ctrl-C ends only the waiting: the migration goes on in the node.
            """)

    @Argument(help: "The exports to move: the disks of one guest, at most 16.")
    var exports: [String]
    @Option(help: ArgumentHelp("The destination's --peer-listen address.", valueName: "host:port"))
    var to: PeerAddress
    @Option(
        name: .customLong("switch"),
        help: ArgumentHelp(
            "When the disk is handed over: as soon as the pause is short enough (converged), with the first write at "
                + "the destination (first-write), on nearblock switch (manual), or at once (now). What is not there "
                + "by then follows afterwards.", valueName: "when"))
    var switchover = Switchover.converged
    @Option(
        help: ArgumentHelp("Send at most this many bits a second, as in 100M.", valueName: "rate"),
        transform: BitRate.init)
    var rate: BitRate?
    @Option(
        help: ArgumentHelp(
            "How long a request of the guest may wait at the hand-over, as in 200ms (default: twice the link's round trip "
                + "and 50ms).", valueName: "time"), transform: TimeSpan.init)
    var maxPause: TimeSpan?
    @Option(
        help: ArgumentHelp(
            "Go over the disk at most so often before it is handed over (converged); what is left follows afterwards.",
            valueName: "count"))
    var maxRounds: Int?
    @Option(
        help: ArgumentHelp(
            "Hand over once no more is left to be sent, as in 4M, whatever the pause.", valueName: "size"),
        transform: ByteCount.init)
    var dirtyThreshold: ByteCount?
    @Option(
        name: .customLong("domain"), parsing: .singleValue,
        help: ArgumentHelp(
            "Draw only on the destination's neighbours of this domain; may be repeated (default: all).",
            valueName: "name"))
    var domains: [String] = []
    @Flag(
        help: """
            Ask the destination what it has of the disks, and say what moving them would take; nothing moves. The time, \
            and how hard the data would be compressed, are for a link of --rate.
            """)
    var dryRun = false
    @Flag(help: "Begin even where the destination seems to have too little room: a device of zeros takes none.")
    var noSpaceCheck = false
    @Flag(help: "Return as soon as the migration has begun.")
    var detach = false
    @Flag(help: "Print one JSON object for each disk on standard output at the end, a line each.")
    var json = false
    @OptionGroup var node: ControlOption

    func run() async throws {
        var command = MigrateCommand(
            exports: exports, destination: to, switchover: switchover, rate: rate?.bitsPerSecond,
            maximumPause: maxPause?.seconds, detach: detach)
        command.domains = domains
        command.maximumRounds = maxRounds
        command.dirtyThreshold = dirtyThreshold?.bytes
        command.skipsSpaceCheck = noSpaceCheck ? true : nil
        if dryRun { return try await estimate(command) }
        let interruption = detach ? nil : MigrationInterruption(of: exports, control: node.control)
        defer { interruption?.end() }
        let reply = try await node.ask(.migrate(command)) { reply in
            guard case .progress(let progress) = reply else { return }
            interruption?.noteBegun()
            Terminal.progress(Self.describe(progress))
        }
        Terminal.endProgress()
        guard case .reports(let reports) = reply else { return }
        for report in reports {
            if json { try JSON.print(report) } else { for line in LedgerTable(report: report).lines { print(line) } }
        }
    }

    private func estimate(_ command: MigrateCommand) async throws {
        guard case .estimates(let estimates) = try await node.ask(.estimate(command)) else { return }
        for estimate in estimates {
            if json {
                try JSON.print(estimate)
            } else {
                for line in LedgerTable(estimate: estimate).lines { print(line) }
            }
        }
    }

    private static func describe(_ progress: MigrationProgress) -> String {
        "\(progress.phase) \(Format.progress(progress)), \(Format.bytes(progress.wire)) on the wire, "
            + "\(Format.bytes(progress.dirty)) to send again"
    }
}
