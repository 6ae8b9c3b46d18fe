import ArgumentParser

/// `nearblock index verify`.
struct IndexVerifyCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "verify", abstract: "Read every table and check all of it; fails where one is damaged.")

    @OptionGroup var place: IndexOption

    func run() async throws {
        let problems = try place.openStore().verify()
        for problem in problems { Terminal.report(problem) }
        if !problems.isEmpty { throw ExitCode(1) }
    }
}
