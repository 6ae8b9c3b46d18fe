import Migration

/// The ledger of a migration as a table.
struct LedgerTable {
    let report: MigrationReport

    /// The lines of it.
    var lines: [String] {
        let ledger = report.ledger
        let rows: [(String, UInt64, String)] = [
            ("zero", ledger.zero, "nothing to bring"),
            ("present", ledger.present, "stood in the image there already"),
            ("repeated", ledger.repeated, "copied from elsewhere on the same disk, there"),
            ("neighbour", ledger.neighbour, "copied from other images, there"),
            ("link", ledger.link, "sent, as \(Format.bytes(report.wire.data)) compressed"),
        ]
        let table = rows.map { name, bytes, meaning in
            "  \(pad(name, 10))\(pad(Format.bytes(bytes), 11, right: true))  "
                + "\(Format.percent(bytes, of: ledger.total))  \(meaning)"
        }
        let wire = report.wire
        return [
            "\(report.export) has moved: \(Format.bytes(report.size)) in \(Format.seconds(report.seconds.total))"
        ]
            + table + [
                "  sent again because it was written meanwhile: \(Format.bytes(report.resent))",
                "  on the wire: \(Format.bytes(wire.total)) (data \(Format.bytes(wire.data)), fingerprints "
                    + "\(Format.bytes(wire.fingerprints)), control \(Format.bytes(wire.control)))",
                "  rounds: \(report.rounds); the guest waited \(Format.seconds(report.seconds.pause))",
                "  root on both sides: \(report.root)",
            ]
    }

    private func pad(_ text: String, _ width: Int, right: Bool = false) -> String {
        let space = String(repeating: " ", count: max(0, width - text.count))
        return right ? space + text : text + space
    }
}
