import Daemon
import Migration

/// The exports of a node as a table for people.
struct StatusTable {
    private let exports: [ExportStatus]

    init(_ exports: [ExportStatus]) { self.exports = exports }

    /// Lines of at most 80 columns, except for messages and longer words.
    var lines: [String] {
        var table = TextTable(columns: [
            .init("EXPORT", width: 16), .init("SIZE", width: 9, isRight: true), .init("STATE", width: 12),
            .init("DONE", width: 7, isRight: true), .init("RATE", width: 12, isRight: true),
            .init("LEFT", width: 8, isRight: true), .init("CLIENTS", width: 7, isRight: true),
        ])
        for export in exports {
            let copy = Copy(export)
            table.add(
                [
                    export.export, Format.bytes(export.size), Self.state(export), copy.done, copy.rate, copy.left,
                    export.clients.map(String.init) ?? "",
                ], details: Self.details(export), messages: Self.messages(export))
        }
        return table.lines
    }

    /// Progress of a disk in either direction.
    private struct Copy {
        var (done, rate, left) = ("", "", "")

        init(_ export: ExportStatus) {
            if let progress = export.progress {
                // In post-copy there is no round, and `missing` says what follows.
                if progress.phase != "post-copy", progress.total > 0 {
                    done = Format.percent(progress.done, of: progress.total)
                }
                rate = Format.bitRate(progress.linkRate)
            } else if let arrival = export.arrival {
                done = Format.percent(arrival.done, of: arrival.total)
                rate = Format.bitRate(arrival.linkRate)
            } else if let missing = export.missingBytes {
                done = Format.percent(export.size - min(missing, export.size), of: export.size)
            }
            let seconds = export.progress?.secondsLeft ?? export.arrival?.secondsLeft ?? export.secondsLeft
            left = seconds.map(Format.shortTime) ?? ""
        }
    }

    /// Long states go to the details.
    private static func state(_ export: ExportStatus) -> String {
        export.state.contains(",") ? String(export.state.prefix { $0 != "," }) : export.state
    }

    private static func details(_ export: ExportStatus) -> [String] {
        var lines: [String] = []
        var way = export.state.contains(",") ? [export.state] : []
        if let destination = export.destination { way.append("to \(destination)") }
        if let source = export.arrival?.source { way.append("from \(source)") }
        if let progress = export.progress { way += Format.details(progress) }
        if let missing = export.missingBytes { way.append("\(Format.bytes(missing)) are only at the source") }
        if !way.isEmpty { lines.append(way.joined(separator: "; ")) }
        if let memory = export.memory {
            let sizes = "\(Format.bytes(memory.stream)) as \(Format.bytes(memory.wire))"
            lines.append("memory of \(memory.name) \(memory.state.rawValue), \(sizes)")
        }
        if let progress = export.progress, progress.phase != "post-copy", let free = progress.free,
            free.sent < free.known
        {
            lines.append("fstrim in the guest saves free blocks that have not been sent")
        }
        if let failures = export.failures { lines.append(Format.failures(failures)) }
        return lines
    }

    private static func messages(_ export: ExportStatus) -> [String] {
        var lines: [String] = []
        if let problem = export.problem { lines.append("problem: \(problem)") }
        if let last = export.lastMigration, last.state != MigrationOutcome.complete.rawValue {
            lines.append("last migration, to \(last.destination): \(last.state) at \(last.ended)")
            if let problem = last.problem { lines.append("because: \(problem)") }
        }
        return lines
    }
}
