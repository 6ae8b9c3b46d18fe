import Migration
import MigrationProtocol

/// Result or estimate of a migration as a table for people.
struct LedgerTable {
    private let title: String
    private let ledger: Ledger
    private let wire: WireBytes
    private var ending: [String]

    init(report: MigrationReport) {
        title = "\(report.export) has moved: \(Format.bytes(report.size)) in \(Format.seconds(report.seconds.total))"
        ledger = report.ledger
        wire = report.wire
        let free = report.free.map { free in
            "free in the guest's file systems at the start: \(Format.bytes(free.known)), of which \(Format.bytes(free.sent)) were sent"
        }
        ending = [
            "sent again because of writes meanwhile: \(Format.bytes(report.resent))",
            "rounds: \(report.rounds); downtime: \(Format.seconds(report.seconds.pause))",
            "root on both sides: \(report.root)",
        ]
        ending.insert(contentsOf: free.map { [$0] } ?? [], at: 0)
    }

    init(estimate: MigrationEstimate) {
        let place = estimate.to.map { " to \($0)" } ?? ""
        title =
            "\(estimate.export) would move\(place): \(Format.bytes(estimate.size)), as long as nothing is written"
        ledger = estimate.ledger
        wire = estimate.wire
        ending = [
            estimate.seconds.total.map { "time at that rate: \(Format.seconds($0))" } ?? "time: give the link's --rate"
        ]
        if let free = estimate.free?.known {
            ending.append("free in the guest's file systems, and no zeros: \(Format.bytes(free))")
            ending.append(
                "to save them: fstrim in the guest, or nearblock trim \(estimate.export) when it is shut down")
        }
    }

    /// Prints reports on standard output.
    static func print(_ reports: [MigrationReport], asJSON: Bool) throws {
        for report in reports {
            if asJSON {
                try JSON.print(report)
            } else {
                for line in LedgerTable(report: report).lines { Swift.print(line) }
            }
        }
    }

    /// Lines of the table.
    var lines: [String] {
        let rows: [(String, UInt64, String)] = [
            ("zero", ledger.zero, "nothing to transfer"),
            ("present", ledger.present, "already in the destination's image"),
            ("repeated", ledger.repeated, "copied within the disk, at the destination"),
            ("neighbour", ledger.neighbour, "copied from other images, at the destination"),
            ("link", ledger.link, "over the link, as \(Format.bytes(wire.data)) compressed"),
        ]
        let table = rows.map { name, bytes, meaning in
            "\(pad(name, 10))\(pad(Format.bytes(bytes), 11, right: true))  "
                + "\(Format.percent(bytes, of: ledger.total))  \(meaning)"
        }
        let onWire =
            "on the wire: \(Format.bytes(wire.total)) (data \(Format.bytes(wire.data)), fingerprints "
            + "\(Format.bytes(wire.fingerprints)), control \(Format.bytes(wire.control)))"
        return [title] + (table + [onWire] + ending).map { "  \($0)" }
    }

    private func pad(_ text: String, _ width: Int, right: Bool = false) -> String {
        let space = String(repeating: " ", count: max(0, width - text.count))
        return right ? space + text : text + space
    }
}
