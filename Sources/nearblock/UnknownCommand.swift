import ArgumentParser
import Daemon

/// A word in the place of a command that is none.
enum UnknownCommand {
    /// Looks for the first word that should name a command.
    /// - Parameter arguments: The command line without the program's name.
    /// - Returns: What is wrong with it; nil if it is a command, or there is no word.
    static func problem(in arguments: [String]) -> String? { find(arguments).problem }

    /// Returns the command that the first words name.
    static func command(of arguments: [String]) -> any ParsableCommand.Type { find(arguments).command }

    private static func find(_ arguments: [String]) -> (command: any ParsableCommand.Type, problem: String?) {
        var command: any ParsableCommand.Type = Nearblock.self
        for word in arguments where word != "help" {
            let choices = command.configuration.subcommands
            guard !choices.isEmpty, !word.hasPrefix("-") else { break }
            guard let next = choices.first(where: { $0.configuration.commandName == word }) else {
                return (command, describe(word, choices.compactMap { $0.configuration.commandName }))
            }
            command = next
        }
        return (command, nil)
    }

    private static func describe(_ word: String, _ names: [String]) -> String {
        let question = NearestName.find(word, among: names).map { "did you mean '\($0)'?" }
        return "there is no command '\(word)'; \(question ?? "commands are \(names.joined(separator: ", "))")"
    }
}
