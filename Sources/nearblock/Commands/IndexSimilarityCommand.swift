import ArgumentParser
import FreeSpace
import Index

/// `nearblock index similarity`.
struct IndexSimilarityCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "similarity", abstract: "Measure how much of an image is in the index.",
        usage: "nearblock index similarity --index <dir> [<options>] <image>",
        discussion: HelpText.text(

            examples: "nearblock index similarity --index /var/lib/index /images/new.raw",
            "nearblock index similarity --index /var/lib/index --domain web /dev/vg/new"))

    @OptionGroup var place: IndexOption
    @OptionGroup var build: BuildOption
    @Option(
        name: .customLong("domain"), parsing: .singleValue,
        help: ArgumentHelp("Count only neighbours of this domain; may be repeated (default: all).", valueName: "name"))
    var domains: [String] = []
    @Flag(help: "Print one JSON object.")
    var json = false
    @Argument(help: "A raw image, a block device or an NBD URI.", completion: .file())
    var image: String

    func run() async throws {
        build.begin()
        FormatNotice.check([image])
        let line = BuildProgressLine(image)
        var index = try place.open(check: .everything)
        if !domains.isEmpty { index = index.restricted(to: Set(domains)) }
        let similarity = try Similarity.measure(
            image: image, index: index, findPlaces: PartitionReader().places, options: build.options
        ) { line.show($0) }
        Terminal.endProgress()
        if json { return try JSON.print(similarity) }
        let whole = similarity.blocks - similarity.zero
        print(
            "\(image): \(whole) nonzero blocks of \(similarity.block) bytes, \(similarity.distinct) distinct"
        )
        print("\(Format.percent(similarity.found, of: whole))  in the index")
        for neighbour in similarity.neighbours {
            print("\(Format.percent(neighbour.found, of: whole))  in \(neighbour.name)")
        }
    }
}
