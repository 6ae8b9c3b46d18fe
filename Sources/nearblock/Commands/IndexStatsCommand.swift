import ArgumentParser
import Index

/// `nearblock index stats`.
struct IndexStatsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "stats", abstract: "Show totals of the index.",
        discussion: HelpText.text(

            examples: "nearblock index stats --index /var/lib/index",
            "nearblock index stats --index /var/lib/index --json"))

    @OptionGroup var place: IndexOption
    @Flag(help: "Print one JSON object.")
    var json = false

    private struct Answer: Encodable {
        let block: Int
        let neighbours: Int
        let blocks: UInt64
        let zero: UInt64
        let distinct: UInt64
        let tableBytes: UInt64
        let catalogues: Int
        let catalogueBytes: UInt64
        let problems: [String]
    }

    func run() async throws {
        let index = try place.open()
        func sum(_ part: KeyPath<Neighbour, UInt64>) -> UInt64 {
            index.neighbours.reduce(0) { $0 + $1[keyPath: part] }
        }
        let answer = Answer(
            block: index.blockSize, neighbours: index.neighbours.count, blocks: sum(\.blocks),
            zero: sum(\.zero),
            distinct: sum(\.distinct), tableBytes: sum(\.tableBytes), catalogues: index.catalogues,
            catalogueBytes: index.catalogueBytes, problems: index.problems)
        if json { return try JSON.print(answer) }
        print("\(answer.neighbours) neighbours in blocks of \(answer.block) bytes")
        print(
            "\(answer.blocks) blocks, of which \(answer.zero) zero; \(answer.distinct) fingerprints; tables of "
                + "\(Format.bytes(answer.tableBytes)), \(answer.catalogues) catalogues of "
                + Format.bytes(answer.catalogueBytes))
    }
}
