import Daemon

/// The outcome of a trim, for people.
struct TrimTable {
    let report: TrimReport

    init(_ report: TrimReport) { self.report = report }

    /// One line for the disk, and one for each part of it.
    var lines: [String] {
        let outcome =
            report.dryRun
            ? "\(Format.bytes(report.data)) of free blocks would be punched"
            : "\(Format.bytes(report.punched)) of free blocks punched"
        return ["\(report.export): \(outcome)"] + report.parts.map { "  \(line($0))" }
    }

    private func line(_ part: TrimReport.Part) -> String {
        let place = "\(part.fileSystem ?? "unknown") at \(Format.bytes(part.start)), \(Format.bytes(part.size))"
        if let problem = part.problem { return "\(place): left as it is: \(problem)" }
        let punched = report.dryRun ? "" : ", \(Format.bytes(part.punched)) punched"
        return "\(place): \(Format.bytes(part.free)) free, \(Format.bytes(part.data)) of them no holes\(punched)"
    }
}
