import ArgumentParser

/// `nearblock record`.
struct RecordCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "record",
        abstract: "Look at what a node remembers of moved disks, and say which image a record is about.",
        discussion: """
            A node knows an image by what it is, not by where it stands. Where an image stands in the place of one that \
            has moved and is not that one, the node does not guess and does not serve it: the operator says whether it \
            is the same disk (adopt) or another one (disown). The node takes that over when it is started or gets SIGHUP.
            """,
        subcommands: [RecordListCommand.self, RecordAdoptCommand.self, RecordDisownCommand.self])
}
