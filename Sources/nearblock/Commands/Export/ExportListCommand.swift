import ArgumentParser
import Daemon

/// `nearblock export list`.
struct ExportListCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list",
        abstract: "Show the exports of a node with their origins, and what migrations have left behind.",
        discussion: HelpText.text(examples: "nearblock export list", "nearblock export list --json"))

    @Flag(help: "Print one JSON object on standard output; docs/json.md describes it.")
    var json = false
    @OptionGroup var node: ControlOption

    /// The object that `--json` prints.
    struct Answer: Encodable {
        let version = 1
        let exports: [ExportList.Entry]
        let leftovers: [ExportList.Leftover]
    }

    func run() async throws {
        guard case .exports(let list) = try await node.ask(.exports) else { return }
        if json { return try JSON.print(Answer(exports: list.exports, leftovers: list.leftovers)) }
        var table = TextTable(columns: [
            .init("EXPORT", width: 20), .init("SIZE", width: 9, isRight: true), .init("ORIGIN", width: 13),
            .init("STATE", width: 12), .init("CLIENTS", width: 7, isRight: true),
        ])
        for export in list.exports {
            table.add(
                [
                    export.export, Format.bytes(export.size), export.origin, export.condition,
                    String(export.clients),
                ], details: [], messages: export.image.map { [$0] } ?? [])
        }
        for line in table.lines { print(line) }
        if list.exports.isEmpty, list.leftovers.isEmpty {
            print("this node has no exports, and migrations have left nothing behind")
        }
        guard !list.leftovers.isEmpty else { return }
        print("\(list.exports.isEmpty ? "" : "\n")Left by migrations:")
        for leftover in list.leftovers {
            let size = leftover.allocated.map { ", \(Format.bytes($0))" } ?? ""
            print(PlainText.line("  \(leftover.file)\(size): \(leftover.advice)"))
        }
    }
}
