/// The record of the last migrations from a node.
public struct PastMigrations: Codable, Sendable {
    /// Migrations that are kept; older ones are forgotten. Each takes at most about 8 KiB.
    public static let limit = 100
    static let name = "completed"

    /// The migrations, the latest last.
    public private(set) var migrations: [PastMigration] = []

    /// Begins with none.
    public init() {}

    /// Reads the record of earlier processes; none if there is no record.
    /// - Throws: `DamagedRecord`, `FileError`.
    public init(from directory: StateDirectory) throws {
        self = try directory.read(Self.self, from: Self.name) ?? Self()
        migrations = migrations.suffix(Self.limit)
    }

    /// Adds a migration that has just ended.
    public mutating func add(_ migration: PastMigration) {
        migrations.append(migration)
        migrations = migrations.suffix(Self.limit)
    }

    /// The latest migration of an export; nil if none is known.
    public func latest(of export: String) -> PastMigration? { migrations.last { $0.export == export } }

    /// Replaces the record durably. Blocks the thread for as long as the storage takes.
    /// - Throws: `FileError`; the record is then as it was, or as it is now.
    public func write(to directory: StateDirectory) throws { try directory.write(self, as: Self.name) }
}
