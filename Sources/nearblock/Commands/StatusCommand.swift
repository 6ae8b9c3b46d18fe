import ArgumentParser
import Daemon

/// `nearblock status`.
struct StatusCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status", abstract: "Show the exports of a node and their migrations.",
        discussion: HelpText.text(examples: "nearblock status", "nearblock status --json"))

    @Flag(help: "Print one JSON object on standard output.")
    var json = false
    @OptionGroup var node: ControlOption

    private struct Answer: Encodable {
        let exports: [ExportStatus]
        let memoryDirectory: String?
    }

    func run() async throws {
        guard case .status(let exports, let memoryDirectory) = try await node.ask(.status) else { return }
        if json { return try JSON.print(Answer(exports: exports, memoryDirectory: memoryDirectory)) }
        for export in exports {
            var line = "\(export.export)  \(Format.bytes(export.size))  \(export.state)"
            if let destination = export.destination { line += "  to \(destination)" }
            if let progress = export.progress { line += "  \(Format.progress(progress))" }
            if let missing = export.missing { line += "  \(missing) blocks are only at the source" }
            if let left = export.secondsLeft { line += ", \(Format.timeLeft(left))" }
            if let memory = export.memory {
                let sizes = "\(Format.bytes(memory.stream)) as \(Format.bytes(memory.wire))"
                line += "  memory of \(memory.name) \(memory.state.rawValue), \(sizes)"
            }
            if let failures = export.failures { line += "  \(Format.failures(failures))" }
            if let problem = export.problem { line += "  (\(problem))" }
            print(PlainText.line(line, limit: 2 * PlainText.longestLine))
        }
    }
}
