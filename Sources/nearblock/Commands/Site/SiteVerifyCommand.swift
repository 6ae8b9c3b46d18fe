import ArgumentParser
import Site

/// `nearblock site verify`.
struct SiteVerifyCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "verify", abstract: "Read and verify all files of a site; fails if anything is damaged.",
        discussion: HelpText.text(
            examples: "nearblock site verify --site /mnt/site", "nearblock site verify --site /mnt/site --json"))

    @OptionGroup var place: SiteOption
    @Flag(help: "Print one JSON object.")
    var json = false

    private struct Answer: Encodable {
        let problems: [String]
    }

    func run() async throws {
        let problems = try SiteReport(of: place.store, check: .everything).problems
        for problem in problems { Terminal.report(problem) }
        if json { try JSON.print(Answer(problems: problems)) }
        if !problems.isEmpty { throw ExitCode(1) }
    }
}
