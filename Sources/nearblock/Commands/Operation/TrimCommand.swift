import ArgumentParser
import Daemon

/// `nearblock trim`.
struct TrimCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "trim",
        abstract: "Punch the free blocks of a shut-down guest's disk.",
        usage: "nearblock trim <export> [<options>]",
        discussion: HelpText.text(
            """
            Free blocks are full of old bytes, which a migration would carry. The file systems (ext2 to ext4, XFS, \
            NTFS, btrfs) must have been unmounted cleanly, and no client may be connected. A guest that runs trims its \
            disks itself (fstrim).
            """,
            examples: "nearblock trim web --dry-run", "nearblock trim web"))

    @Argument(help: "Name of the export.", completion: ExportNames.completion)
    var export: String
    @Flag(help: "Say only what would be punched.")
    var dryRun = false
    @Flag(help: "Trim NTFS and btrfs too, which do not show whether they are in use.")
    var guestIsOff = false
    @Flag(help: "Print one JSON object in a line on standard output.")
    var json = false
    @OptionGroup var node: ControlOption

    func run() async throws {
        let table = try await TrimRun(export: export, isDryRun: dryRun, isGuestOff: guestIsOff, node: node).run()
        if json { return try JSON.print(table.report) }
        for line in table.lines { print(line) }
    }
}
