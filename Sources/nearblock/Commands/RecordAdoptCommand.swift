import ArgumentParser
import Migration

/// `nearblock record adopt`.
struct RecordAdoptCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "adopt",
        abstract: "Declare that an image is the disk that the record of its path describes.",
        usage: "nearblock record adopt <image> [<options>]",
        discussion: HelpText.text(
            "For an image that was copied back, or whose file system gives it another inode number after a mount.",
            examples: "nearblock record adopt /images/web.raw",
            "nearblock record adopt /dev/vg/web --identity web --state /var/lib/nearblock"))

    @Argument(help: "Path of the image, as it is served.", completion: .file())
    var image: String
    @Option(help: ArgumentHelp("Name of a device that has no UUID, WWID or serial number.", valueName: "name"))
    var identity: String?
    @Option(help: ArgumentHelp("Format of the disk in the image, as it is served.", valueName: "format"))
    var format: String?
    @OptionGroup var state: StateOption

    func run() async throws {
        let standing = try StandingDiskName(image, format: format, identity: identity)
        for file in try state.open().adopt(standing.identity, at: image, isFile: standing.isFile) {
            print("\(file) is about \(image) now; run nearblock reload, or start the node again")
        }
    }
}
