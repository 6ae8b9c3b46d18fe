import ArgumentParser
import Daemon

/// A long option that a command does not have. The argument parser says nothing of one while something else is missing.
enum UnknownOption {
    /// Options that no help lists.
    private static let unlisted: Set = ["--help-hidden", "--generate-completion-script", "--experimental-dump-help"]

    /// Looks for the first such option.
    /// - Parameter arguments: The command line without the program's name.
    /// - Returns: What is wrong with it; nil if all are known.
    static func problem(in arguments: [String]) -> String? {
        let command = UnknownCommand.command(of: arguments)
        let known = names(in: Nearblock.helpMessage(for: command, includeHidden: true, columns: 200))
        for word in arguments.prefix(while: { $0 != "--" }) where word.hasPrefix("--") {
            let option = String(word.prefix { $0 != "=" })
            guard !known.contains(option), !unlisted.contains(option) else { continue }
            let question = NearestName.find(option, among: known).map { "; did you mean '\($0)'?" }
            return "there is no option '\(option)'\(question ?? "")"
        }
        return nil
    }

    /// The options of a help, as in `  -s, --single            Serve ...`.
    private static func names(in help: String) -> [String] {
        help.split(separator: "\n").filter { $0.hasPrefix("  -") }.flatMap { row in
            row.drop { $0 == " " }.split(separator: "  ", maxSplits: 1)[0].split(separator: " ").map(String.init)
                .filter { $0.hasPrefix("--") }
        }
    }
}
