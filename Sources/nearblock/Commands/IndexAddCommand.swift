import ArgumentParser
import Index

/// `nearblock index add`.
struct IndexAddCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "add", abstract: "Index images, in place of what was known of them.")

    @OptionGroup var place: IndexOption
    @Option(help: ArgumentHelp("Bytes of a block, for a new index (default: 4096).", valueName: "bytes"))
    var blockSize: Int?
    @Flag(help: "Print one JSON object for each image.")
    var json = false
    @Argument(help: "Raw images or block devices.")
    var images: [String]

    func run() async throws {
        let store = try IndexStore(directory: place.index, blockSize: blockSize)
        for image in images {
            let line = BuildProgressLine(image)
            let summary = try store.add(image, threads: IndexOption.threads) { line.show($0) }
            Terminal.endProgress()
            try IndexReport.print(summary, asJSON: json)
        }
    }
}
