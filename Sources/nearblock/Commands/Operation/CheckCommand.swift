import ArgumentParser
import Configuration
import Daemon

/// `nearblock check`.
struct CheckCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "check",
        abstract: "Name every mistake in a configuration file, with its line and what is allowed.",
        discussion: HelpText.text(
            """
            Run it as the node's user: images and directories are looked at with this user's rights. Nothing is changed, \
            and no NBD server is asked. Exits with 1 if there is a mistake; warnings alone end with 0.
            """,
            examples: "nearblock check /etc/nearblock.conf",
            "nearblock check --offline new.conf"))

    @Argument(help: "Configuration file of a node, as for serve --config.")
    var file: String
    @Flag(help: "Look only at the file, and at no images, directories, certificates and host names that it names.")
    var offline = false
    @Flag(help: "Print one JSON object on standard output.")
    var json = false

    private struct Answer: Encodable {
        let exports: Int
        let mistakes: [String]
        let warnings: [String]
    }

    func run() throws {
        let check = ConfigurationCheck(
            path: file, looksAtFiles: !offline,
            onto: NodeConfiguration(state: DefaultPaths.state, defaultControl: DefaultPaths.control))
        let lines = check.findings.map { (isMistake: $0.isMistake, text: PlainText.line($0.description)) }
        let mistakes = lines.filter(\.isMistake)
        let exports = check.node?.exports.count ?? 0
        if json {
            try JSON.print(
                Answer(
                    exports: exports, mistakes: mistakes.map(\.text),
                    warnings: lines.filter { !$0.isMistake }.map(\.text)))
        } else {
            for line in lines { print(line.text) }
            if mistakes.isEmpty { print("\(file): no mistakes, \(exports) \(exports == 1 ? "export" : "exports")") }
        }
        guard mistakes.isEmpty else {
            throw CommandFailure(
                reason: "\(file) has \(mistakes.count) \(mistakes.count == 1 ? "mistake" : "mistakes")")
        }
    }
}
