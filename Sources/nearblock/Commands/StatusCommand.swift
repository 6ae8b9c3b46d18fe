import ArgumentParser
import Configuration
import Daemon
import Migration
import Peer

/// `nearblock status`.
struct StatusCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status", abstract: "Show the exports of a node and their migrations.",
        usage: "nearblock status [<options>]",
        discussion: HelpText.text(
            "The manual explains the states, and docs/json.md the keys of --json.",
            examples: "nearblock status", "nearblock status --json"))

    @Flag(help: "Print one JSON object in a line on standard output.")
    var json = false
    @Flag(help: "Show the last migrations from the node that have ended, also after a restart, with their reports.")
    var completed = false
    @Flag(help: "Show it again every --interval until Ctrl-C.")
    var watch = false
    @Option(
        help: ArgumentHelp("Time between the views of --watch (default: 1s).", valueName: "time"),
        transform: TimeSpan.init)
    var interval: TimeSpan?
    @OptionGroup var node: ControlOption

    /// The object that `--json` prints.
    struct Answer: Encodable {
        /// Version of the schema: keys are added without a change of it.
        let version = 1
        let exports: [ExportStatus]
        /// Disks that are being copied to the node, and that clients can't have yet.
        let arriving: [ExportStatus]
        let memoryDirectory: String?
    }

    /// The object that `--completed --json` prints.
    struct CompletedAnswer: Encodable {
        let version = 1
        let completed: [PastMigration]
    }

    func validate() throws {
        if let interval, interval.seconds < 0.1 { throw ValidationError("--interval must be at least 100ms.") }
        guard interval == nil || watch else { throw ValidationError("--interval needs --watch.") }
    }

    func run() async throws {
        var output = LiveOutput()
        var lines = try await view()
        while output.show(lines, isRecord: json), watch {
            try await Task.sleep(for: .seconds(interval?.seconds ?? 1))
            do { lines = try await view() } catch {
                // A node that is started again is shown again.
                if json { throw error }
                lines = [PlainText.line(error.plainReason)]
            }
        }
    }

    private func view() async throws -> [String] {
        if completed {
            guard case .completed(let migrations) = try await node.ask(.completed) else { return [] }
            return json
                ? [try JSON.line(CompletedAnswer(completed: migrations))]
                : migrations.isEmpty ? ["no migration from this node has ended yet"] : CompletedTable(migrations).lines
        }
        guard case .status(let exports, let memoryDirectory, let arriving) = try await node.ask(.status) else {
            return []
        }
        guard json else {
            let lines = StatusTable(exports + (arriving ?? [])).lines
            return lines.isEmpty
                ? ["this node has no exports, and none arrives"]
                    + TextTable.wrap(
                        "To serve a disk, put [export NAME] with image = PATH into the node's configuration, then run nearblock "
                            + "reload.") : lines
        }
        return [try JSON.line(Answer(exports: exports, arriving: arriving ?? [], memoryDirectory: memoryDirectory))]
    }
}
