/// The source's note of a migration that has begun; while there is no `MovedRecord` of the same migration it has not
/// happened, and the destination may drop what it has of it.
struct AttemptRecord: Codable {
    let migration: MigrationID
}
