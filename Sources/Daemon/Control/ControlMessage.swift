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
    /// The migrations from the node that have ended.
    case completed
    /// Waits for the end of a migration, or of all that run; `isSwitchEnough` waits for the switchover only. A nil
    /// `isSwitchEnough` means false.
    case wait(export: String?, isSwitchEnough: Bool? = nil)
    /// The exports of the node with their origins, and leftovers of migrations.
    case exports
    /// Ends the life of a disk that came by migration; its image stays.
    case forget(export: String)
    /// Punches the free blocks of an export's file systems, or says only what it would punch.
    case trim(export: String, isDryRun: Bool, isGuestOff: Bool?)
    /// Measures an export against the hosts of sites; of the node's own site if none is named.
    case similarity(export: String, sites: [String], domains: [String])
}

/// Reply of a node: one line of JSON. Any number of `progress`, `trimming` or `placed` replies comes before the final
/// one.
public enum ControlReply: Codable, Sendable {
    case progress(MigrationProgress)
    /// One report for each disk, in the order of the command.
    case reports([MigrationReport])
    /// One estimate for each disk, in the order of the command.
    case estimates([MigrationEstimate])
    /// `memoryDirectory` is the folder of hypervisors that wait for guests' memory; nil for none. `arriving` has the disks
    /// that are being copied here and that clients can't have yet; nil from a node of an earlier release.
    case status([ExportStatus], memoryDirectory: String? = nil, arriving: [ExportStatus]? = nil)
    /// The memory of a guest has moved.
    case memory(MemoryStatus)
    /// The configuration was read again.
    case reloaded(ReloadReport)
    case done
    /// Message for the user, in one line. `kind` is a `MigrationOutcome`, or nil from a node of an earlier release.
    case failed(String, kind: String? = nil)
    /// The migrations that have ended, the latest last.
    case completed([PastMigration])
    case exports(ExportList)
    /// The export is forgotten; its image stays at `image`, and so do the files of `remaining` records about it. Or the
    /// image was gone, and the files of `removed` records about it are removed.
    case forgotten(image: String, remaining: [String]? = nil, removed: [String]? = nil)
    /// How far a trim is.
    case trimming(TrimProgress)
    case trimmed(TrimReport)
    /// One of several destinations was chosen.
    case placed(Placement)
    case similarity(SiteSimilarity)
}
