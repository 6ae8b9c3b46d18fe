import Migration

/// What the command line asks a node; one line of JSON on the control socket.
public enum ControlRequest: Codable, Sendable {
    case status
    case migrate(MigrateCommand)
    /// Says what that would take, and does nothing.
    case estimate(MigrateCommand)
    /// `isSourceGone`: also a disk that its source may have given away to this node; nil for false.
    case cancel(export: String, isSourceGone: Bool? = nil)
    /// Hand a disk over now.
    case switchOver(export: String)
    /// Show what was written since the last checkpoint, or show what the last one did with the next.
    case checkpoint(export: String, hasFailed: Bool)
    /// Bits a second; nil for no limit.
    case rate(export: String, bitsPerSecond: UInt64?)
}

/// What a node answers; a line of JSON each, any number of `progress` first.
public enum ControlReply: Codable, Sendable {
    case progress(MigrationProgress)
    /// One for each disk, in the order of the command.
    case reports([MigrationReport])
    /// Likewise.
    case estimates([MigrationEstimate])
    case status([ExportStatus])
    case done
    /// One line for the user.
    case failed(String)
}
