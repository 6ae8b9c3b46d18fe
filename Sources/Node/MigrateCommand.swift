import Peer

/// What `nearblock migrate` asks for.
public struct MigrateCommand: Codable, Sendable {
    /// The export's name.
    public var export: String
    /// Where it goes.
    public var destination: PeerAddress
    /// Bits a second; nil for no limit.
    public var rate: UInt64?
    /// Seconds.
    public var maximumPause: Double
    /// Answer as soon as the migration has begun.
    public var detach: Bool

    /// Describes a migration.
    public init(export: String, destination: PeerAddress, rate: UInt64?, maximumPause: Double, detach: Bool) {
        self.export = export
        self.destination = destination
        self.rate = rate
        self.maximumPause = maximumPause
        self.detach = detach
    }
}
