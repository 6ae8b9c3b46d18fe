import ArgumentParser
import Block
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
    @OptionGroup var state: StateOption

    func run() async throws {
        let image = try RawImage(path: image, access: .readOnly)
        for file in try state.open().disown(image) {
            print("\(file) is not about \(image.path); send the node SIGHUP or start it again")
        }
    }
}
