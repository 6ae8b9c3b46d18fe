/// One export on the page. Numbers are bytes and seconds.
struct PageExport: Encodable, Sendable {
    /// The map of its blocks.
    struct Map: Encodable, Sendable, Equatable {
        /// Bytes of each cell but the last.
        let cellBytes: UInt64
        /// As `CellRuns` has them.
        let runs: String
    }

    /// The last finished migration.
    struct Last: Encodable, Sendable {
        let destination: String
        let end: Double
        let seconds: Double
        let downtime: Double
    }

    let name: String
    let size: UInt64
    /// An `ExportCondition`.
    let state: String
    let phase: String?
    let destination: String?
    let problem: String?
    let clients: Int
    /// Done part of the round, or of the disk in post-copy.
    var percent: Double?
    var round: Int?
    var secondsLeft: Double?
    var dirtyRate: Double?
    var linkRate: Double?
    var wire: UInt64?
    /// By source.
    var ledger: [String: UInt64]?
    /// Bytes that clients have read and written since the export is served.
    var read: UInt64
    var written: UInt64
    /// Nil if the client has it already, or there is none.
    var map: Map?
    /// Bytes of all cells by state; nil without a map.
    var totals: [String: UInt64]?
    var last: Last?
}
