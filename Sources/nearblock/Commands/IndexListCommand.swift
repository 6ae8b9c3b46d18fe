import ArgumentParser
import Index

/// `nearblock index list`.
struct IndexListCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list", abstract: "List the images in the index.",
        discussion: HelpText.text(

            examples: "nearblock index list --index /var/lib/index",
            "nearblock index list --index /var/lib/index --json"))

    @OptionGroup var place: IndexOption
    @Flag(help: "Print one JSON object.")
    var json = false

    private struct Answer: Encodable {
        let neighbours: [Neighbour]
    }

    func run() async throws {
        let neighbours = try place.open().neighbours
        if json { return try JSON.print(Answer(neighbours: neighbours)) }
        if neighbours.isEmpty {
            print("no images in the index; to add some: nearblock index add --index \(place.index) IMAGE")
        }
        for neighbour in neighbours { print(IndexReport.describe(neighbour)) }
    }
}
