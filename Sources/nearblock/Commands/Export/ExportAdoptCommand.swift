import ArgumentParser
import Configuration
import Daemon

/// `nearblock export adopt`.
struct ExportAdoptCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "adopt",
        abstract: "Print the section that puts a disk that came by migration into the configuration.",
        discussion: HelpText.text(
            """
            Changes nothing in the node: with the section in its configuration file, nearblock reload does. \
            Clients stay connected.
            """,
            examples: "nearblock export adopt disk",
            "nearblock export adopt disk --write /etc/nearblock.conf"))

    @Argument(help: "Export that came by migration.")
    var export: String
    @Option(
        help: ArgumentHelp(
            "Append the section to this configuration file instead of printing it.", valueName: "file"))
    var write: String?
    @OptionGroup var node: ControlOption

    func run() async throws {
        guard case .exports(let list) = try await node.ask(.exports) else { return }
        guard let entry = list.exports.first(where: { $0.export == export }) else {
            throw CommandFailure(reason: "there is no export '\(export)' here; nearblock export list shows all")
        }
        guard entry.origin == ExportList.Origin.arrived.rawValue, let image = entry.image else {
            throw CommandFailure(
                reason: entry.origin == ExportList.Origin.configuration.rawValue
                    ? "\(export) is in the node's configuration already"
                    : "\(export) is still arriving; adopt it when nearblock status shows it as serving")
        }
        let section = try ExportSection(export: export, image: image, isReadOnly: entry.readOnly)
        guard let write else {
            print(section.text, terminator: "")
            return Terminal.report("append this to the node's configuration file, then run nearblock reload")
        }
        try section.append(to: write)
        Terminal.report("\(export) is in \(write) now; run nearblock reload")
    }
}
