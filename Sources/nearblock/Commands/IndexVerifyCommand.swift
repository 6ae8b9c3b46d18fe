import ArgumentParser

/// `nearblock index verify`.
struct IndexVerifyCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "verify", abstract: "Read and verify the whole index; fails if anything is damaged.",
        discussion: HelpText.text(

            examples: "nearblock index verify --index /var/lib/index",
            "nearblock index verify --index /var/lib/index --json"))

    @OptionGroup var place: IndexOption
    @Flag(help: "Print one JSON object.")
    var json = false

    private struct Answer: Encodable {
        let problems: [String]
    }

    func run() async throws {
        let problems = try place.openStore().verify()
        for problem in problems { Terminal.report(problem) }
        if json { try JSON.print(Answer(problems: problems)) }
        if !problems.isEmpty { throw ExitCode(1) }
    }
}
