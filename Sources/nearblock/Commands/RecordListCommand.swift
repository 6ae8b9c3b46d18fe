import ArgumentParser
import Migration

/// `nearblock record list`.
struct RecordListCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list", abstract: "Show the records of a node.",
        discussion: HelpText.text(
            examples: "nearblock record list", "nearblock record list --state /var/lib/nearblock --json"))

    @Flag(help: "Print one JSON object on standard output.")
    var json = false
    @OptionGroup var state: StateOption

    private struct Answer: Encodable {
        let records: [RecordKeeper.Summary]
    }

    func run() async throws {
        let records = try state.open().list()
        if json { return try JSON.print(Answer(records: records)) }
        if records.isEmpty { print("no records of disks that move or have moved") }
        for record in records {
            var line = "\(record.kind)  \(record.export ?? "-")  \(record.path ?? "-")"
            if let destination = record.destination { line += "  to \(destination)" }
            if let image = record.image { line += "  (\(image))" }
            print("\(line)  \(record.file)")
        }
    }
}
