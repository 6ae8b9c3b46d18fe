import ArgumentParser

/// `nearblock record`.
struct RecordCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "record",
        abstract: "Show a node's records of migrated disks, and declare to which image a record belongs.",
        discussion: HelpText.text(
            """
            A node identifies an image by its file or device, not by its path. If another image is at the path of a \
            disk that has moved, the node holds the export back. Run adopt if it is the same disk, disown if it is \
            another, then nearblock reload; an export that is already forwarded needs a restart.
            """,
            examples: "nearblock record list", "nearblock record adopt /images/web.raw"),
        subcommands: [RecordListCommand.self, RecordAdoptCommand.self, RecordDisownCommand.self])
}
