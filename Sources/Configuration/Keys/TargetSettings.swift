import Migration

/// The commands that make the places of arriving disks, and release them.
struct TargetSettings {
    /// Words of the command that makes a place; nil for none.
    var prepare: [String]?
    /// Words of the command that releases it; nil for none.
    var release: [String]?

    /// Both; nil if no command makes places.
    var commands: TargetCommands? {
        prepare.map { TargetCommands(prepare: $0, release: release) }
    }
}
