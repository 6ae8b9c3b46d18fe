import ArgumentParser
import Daemon

/// `nearblock wait`.
struct WaitCommand: AsyncParsableCommand {
    /// Event that ends the wait.
    enum Event: String, CaseIterable, ExpressibleByArgument {
        /// The disk is at the destination whole.
        case migrated
        /// The disk has been switched over; blocks may be missing.
        case switched
    }

    static let configuration = CommandConfiguration(
        commandName: "wait",
        abstract: "Wait for the end of a migration, and exit with its status.",
        discussion: HelpText.text(
            """
            Works at both nodes. If none of the export runs, the latest one counts. Without an export, it waits for all \
            from the node that run now. Exits with 0 complete, 3 cancelled, 4 unreachable, 5 refused, 6 no room, 7 roots \
            differ, 8 the node ended, 1 another failure.
            """,
            examples: "nearblock wait disk",
            "nearblock wait disk --for switched"))

    @Argument(help: "Export that is being migrated (default: all).")
    var export: String?
    @Option(
        name: .customLong("for"),
        help: ArgumentHelp(
            "Event to wait for: migrated (all of the disk is there) or switched.",
            valueName: "event"))
    var event = Event.migrated
    @Flag(help: "Print one JSON object in a line for each report on standard output.")
    var json = false
    @OptionGroup var node: ControlOption

    func run() async throws {
        let request = ControlRequest.wait(export: export, isSwitchEnough: event == .switched ? true : nil)
        guard case .reports(let reports) = try await node.follow(request) else { return }
        try LedgerTable.print(reports, asJSON: json)
    }
}
