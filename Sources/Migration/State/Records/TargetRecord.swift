import MigrationProtocol

/// A destination's record of a place that an operator's command makes, or has made, for a disk that arrives. It is written
/// before the command runs, and removed at the switchover, or once the place has been released.
struct TargetRecord: Codable, Sendable {
    /// The names of these records.
    static let prefix = "target"

    /// The export's name.
    let export: String
    /// Bytes of the disk.
    let size: UInt64
    /// Names this arrival to the commands: a place that was made for another one is not this one's.
    let arrival: String
    /// The domain whose commands are used; nil for those of all other disks.
    let domain: String?
    /// The line that the command has printed; nil while it runs.
    var place: String?
    /// The place is to be released; nil for no.
    var isReleasing: Bool?

    init(export: String, size: UInt64, domain: String?) {
        self.export = export
        self.size = size
        self.domain = domain
        arrival = MigrationID().description
    }
}
