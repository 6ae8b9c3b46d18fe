/// Record with which a restarted node resumes a migration: the command, and the export's name at that time.
struct KeptMigration: Codable {
    let export: String
    let command: MigrateCommand
}
