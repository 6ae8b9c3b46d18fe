import ArgumentParser
import Index
import Peer

/// `nearblock index refresh`.
struct IndexRefreshCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "refresh",
        abstract: "Index changed images again; without names, check all images of the index.",
        usage: "nearblock index refresh --index <dir> [<options>] [<images> ...]",
        discussion: HelpText.text(
            """
            Size and time stamps tell whether a file has changed; block devices and NBD URIs are always read. Without \
            names it also merges the catalogues, and reports unreadable images, whose tables stay as they were.
            """,
            examples: "nearblock index refresh --index /var/lib/index",
            "nearblock index refresh --index /var/lib/index /images/web.raw"))

    @OptionGroup var place: IndexOption
    @OptionGroup var build: BuildOption
    @Flag(help: "Print one JSON object for each image that was read.")
    var json = false
    @Argument(help: "Images that are in the index.", completion: .file())
    var images: [String] = []

    func run() async throws {
        build.begin()
        let store = try place.openStore()
        guard images.isEmpty else {
            FormatNotice.check(images)
            for image in images { try refresh(image, store) }
            return
        }
        var failures = 0
        let neighbours = try place.open().neighbours
        FormatNotice.check(neighbours.map(\.name))
        for neighbour in neighbours {
            do {
                try refresh(neighbour.name, store)
            } catch {
                Terminal.endProgress()
                Terminal.report(error.plainReason)
                failures += 1
            }
        }
        try store.merge(threads: build.options.threads, intoOne: true)
        if failures > 0 { throw ExitCode(1) }
    }

    private func refresh(_ image: String, _ store: IndexStore) throws {
        let line = BuildProgressLine(image)
        let summary = try store.refresh(image, options: build.options) { line.show($0) }
        Terminal.endProgress()
        if let summary { try IndexReport.print(summary, asJSON: json) }
    }
}
