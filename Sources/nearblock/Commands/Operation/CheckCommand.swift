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
            Images and directories are looked at with the rights of --user. Nothing is changed, and no NBD server is \
            asked. Exits with 1 if there is a mistake; warnings alone end with 0.
            """,
            examples: "nearblock check /etc/nearblock.conf",
            "nearblock check --offline new.conf"))

    @Argument(help: "Configuration file of a node, as for serve --config.")
    var file: String
    @Flag(help: "Look only at the file, and at no images, directories, certificates and host names that it names.")
    var offline = false
    @OptionGroup var judge: JudgeOption
    @Flag(help: "Print one JSON object on standard output.")
    var json = false

    private struct Answer: Encodable {
        let exports: Int
        let mistakes: [String]
        let warnings: [String]
        /// The user whose rights counted; nil if no files were looked at.
        let user: String?
    }

    func validate() throws {
        guard !offline || judge.user == nil else {
            throw ValidationError("--user is for files, which --offline leaves alone; leave one out.")
        }
    }

    func run() throws {
        // Another user's default paths would be others.
        let empty = NodeConfiguration(state: DefaultPaths.state, defaultControl: DefaultPaths.control)
        let judgement = offline ? nil : try Judgement(as: judge.user, config: file)
        let check = ConfigurationCheck(path: file, looksAtFiles: !offline, onto: empty, service: judgement?.service)
        let lines = check.findings.map { (isMistake: $0.isMistake, text: PlainText.line($0.description)) }
        let mistakes = lines.filter(\.isMistake)
        let exports = check.node?.exports.count ?? 0
        let suffix = judgement.map { "; \($0.description)" } ?? ""
        if json {
            try JSON.print(
                Answer(
                    exports: exports, mistakes: mistakes.map(\.text),
                    warnings: lines.filter { !$0.isMistake }.map(\.text), user: judgement?.user))
        } else {
            for line in lines.prefix(check.shown.findings.count) { print(line.text) }
            if check.shown.others > 0 { print("\(file): and \(check.shown.others) more lines; --json has them all") }
            if mistakes.isEmpty {
                print("\(file): no mistakes, \(exports) \(exports == 1 ? "export" : "exports")\(suffix)")
            }
        }
        guard mistakes.isEmpty else {
            throw CommandFailure(
                reason: "\(file) has \(mistakes.count) \(mistakes.count == 1 ? "mistake" : "mistakes")\(suffix)")
        }
    }
}
