import Migration

/// Request to a node: one line of JSON on the control socket.
public enum ControlRequest: Codable, Sendable {
    case status
    case migrate(MigrateCommand)
    /// Estimates the migration without doing it.
    case estimate(MigrateCommand)
    /// `isSourceGone` also cancels a disk that its source may already have given to this node; nil means false.
    case cancel(export: String, isSourceGone: Bool? = nil)
    /// Starts the switchover of a disk.
    case switchOver(export: String)
    /// Shows the writes since the last checkpoint; `hasFailed` adds the last checkpoint's blocks to the next one
    /// instead.
    case checkpoint(export: String, hasFailed: Bool)
    /// Raises the size of an export to so many bytes; nil takes over the size that its image has grown to.
    case resize(export: String, size: UInt64?)
    /// Moves the memory of a guest whose disks are at both nodes.
    case memory(MemoryCommand)
    /// Changes the rate in bits a second; nil removes the limit.
    case rate(export: String, bitsPerSecond: UInt64?)
    /// Reads the configuration, certificates and keys again, as SIGHUP does.
    case reload
}

/// Reply of a node: one line of JSON. Any number of `progress` replies comes before the final one.
public enum ControlReply: Codable, Sendable {
    case progress(MigrationProgress)
    /// One report for each disk, in the order of the command.
    case reports([MigrationReport])
    /// One estimate for each disk, in the order of the command.
    case estimates([MigrationEstimate])
    /// `memoryDirectory` is the folder of hypervisors that wait for guests' memory; nil for none.
    case status([ExportStatus], memoryDirectory: String? = nil)
    /// The memory of a guest has moved.
    case memory(MemoryStatus)
    /// The configuration was read again.
    case reloaded(ReloadReport)
    case done
    /// Message for the user, in one line.
    case failed(String)
}
