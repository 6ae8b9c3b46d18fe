/// Why this node ends the arrival of a disk.
struct Dismissal {
    /// For the source, in a line.
    let reason: String
}
