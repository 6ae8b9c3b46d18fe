import ArgumentParser

/// `nearblock export`.
struct ExportCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "export",
        abstract: "Show where a node's exports come from, and decide about disks that came by migration.",
        discussion: HelpText.text(
            """
            A disk that came by migration is served without being in the configuration, over restarts too. Put it there \
            with adopt, to give it options; end its export with forget. Its image stays in both cases.
            """,
            examples: "nearblock export list",
            "nearblock export adopt disk"),
        subcommands: [ExportListCommand.self, ExportAdoptCommand.self, ExportForgetCommand.self])
}
