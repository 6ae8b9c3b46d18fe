import ArgumentParser

/// `nearblock index remove`.
struct IndexRemoveCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "remove", abstract: "Remove images from the index; the images themselves stay as they are.",
        discussion: HelpText.text(

            examples: "nearblock index remove --index /var/lib/index /images/old.raw",
            "nearblock index remove --index /var/lib/index --json /images/old.raw")
    )

    @OptionGroup var place: IndexOption
    @Flag(help: "Print one JSON object.")
    var json = false
    @Argument(help: "Images that are in the index; they need not exist any more.", completion: .file())
    var images: [String]

    private struct Answer: Encodable {
        let removed: [String]
    }

    func run() async throws {
        let store = try place.openStore()
        for image in images { try store.remove(image) }
        if json { try JSON.print(Answer(removed: images)) }
    }
}
