import ArgumentParser

/// `nearblock record`.
struct RecordCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "record",
        abstract: "Show what a node has noted of disks that move, and say which image a record is about.",
        discussion: """
            A node identifies an image by its file or device, not by its path. If another image is at the path of one \
            that has moved, the node holds the export back. Run adopt if it is the same disk, disown if it is another, \
            then send the node SIGHUP; an export that it forwards already takes a restart.
            """,
        subcommands: [RecordListCommand.self, RecordAdoptCommand.self, RecordDisownCommand.self])
}
