/// What a node goes on with when it is started again: the command, and what one of its exports was called then.
struct KeptMigration: Codable {
    let export: String
    let command: MigrateCommand
}
