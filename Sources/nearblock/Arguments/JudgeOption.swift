import ArgumentParser

/// Option that selects the user whose rights count.
struct JudgeOption: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Judge with this user's rights (default for root: those of the file's service).", valueName: "name"))
    var user: String?
}
