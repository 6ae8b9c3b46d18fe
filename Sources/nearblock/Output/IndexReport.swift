import Index

/// Describes an indexed image, as text or JSON.
enum IndexReport {
    static func print(_ summary: TableSummary, asJSON: Bool) throws {
        if asJSON { return try JSON.print(summary.neighbour) }
        Swift.print(describe(summary.neighbour))
    }

    static func describe(_ neighbour: Neighbour) -> String {
        "\(neighbour.name)  \(neighbour.domain == Neighbour.standardDomain ? "" : "domain \(neighbour.domain), ")\(Format.bytes(neighbour.size)), \(neighbour.distinct) fingerprints of "
            + "\(neighbour.blocks) blocks, \(neighbour.zero) zero, table \(Format.bytes(neighbour.tableBytes))"
    }
}
