import ArgumentParser
import Index

/// `nearblock index similarity`.
struct IndexSimilarityCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "similarity", abstract: "Measure how much of an image stands in the index.")

    @OptionGroup var place: IndexOption
    @Flag(help: "Print one JSON object.")
    var json = false
    @Argument(help: "A raw image or block device.")
    var image: String

    func run() async throws {
        let line = BuildProgressLine(image)
        let similarity = try Similarity.measure(
            imagePath: image, index: try place.open(check: .everything), threads: IndexOption.threads
        ) { line.show($0) }
        Terminal.endProgress()
        if json { return try JSON.print(similarity) }
        let whole = similarity.blocks - similarity.zero
        print(
            "\(image): \(whole) blocks of \(similarity.block) bytes that are not zero, \(similarity.distinct) different"
        )
        print("\(Format.percent(similarity.found, of: whole))  in the index")
        for neighbour in similarity.neighbours {
            print("\(Format.percent(neighbour.found, of: whole))  in \(neighbour.name)")
        }
    }
}
