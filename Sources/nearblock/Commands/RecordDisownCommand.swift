import ArgumentParser
import Migration

/// `nearblock record disown`.
struct RecordDisownCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "disown",
        abstract: "Declare that an image is not the disk that the record of its path describes.",
        discussion: HelpText.text(
            "The record stays, and applies to its own disk wherever that appears.",
            examples: "nearblock record disown /images/web.raw",
            "nearblock record disown /images/web.raw --state /var/lib/nearblock"))

    @Argument(help: "Path of the image, as it is served.", completion: .file())
    var image: String
    @Option(help: ArgumentHelp("Format of the disk in the image, as it is served.", valueName: "format"))
    var format: String?
    @OptionGroup var state: StateOption

    func run() async throws {
        let standing = try StandingDiskName(image, format: format)
        for file in try state.open().disown(standing.identity, at: image, isFile: standing.isFile) {
            print("\(file) is not about \(image); run nearblock reload, or start the node again")
        }
    }
}
