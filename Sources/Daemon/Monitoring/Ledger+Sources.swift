import MigrationProtocol

extension Ledger {
    /// The names and the bytes of all sources, in the order of the ledger.
    var bySource: [(source: String, bytes: UInt64)] {
        [("zero", zero), ("present", present), ("repeated", repeated), ("neighbour", neighbour), ("link", link)]
    }
}
