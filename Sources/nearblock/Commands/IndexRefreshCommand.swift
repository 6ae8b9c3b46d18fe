import ArgumentParser
import Index

/// `nearblock index refresh`.
struct IndexRefreshCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "refresh",
        abstract: "Index again the images that have changed; without names, all of them.")

    @OptionGroup var place: IndexOption
    @Flag(help: "Print one JSON object for each image that was read.")
    var json = false
    @Argument(help: "Images that are in the index.")
    var images: [String] = []

    func run() async throws {
        let names = images.isEmpty ? try place.open().neighbours.map(\.name) : images
        let store = try place.openStore()
        for image in names {
            let line = BuildProgressLine(image)
            let summary = try store.refresh(image, threads: IndexOption.threads) { line.show($0) }
            Terminal.endProgress()
            if let summary { try IndexReport.print(summary, asJSON: json) }
        }
    }
}
