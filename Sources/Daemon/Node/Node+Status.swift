extension Node {
    /// Returns the status of all exports, sorted by name.
    public func status() async -> [ExportStatus] { await nodeStatus.collect() }

    /// Returns the disks that are being copied here and that clients can't have yet, sorted by name.
    public func arriving() async -> [ExportStatus] { await nodeStatus.collectArriving() }

    private var nodeStatus: NodeStatus {
        NodeStatus(
            exports: Array(exports.values), registry: registry, heldBack: heldBack.withLockedValue { $0 },
            past: history.all)
    }
}
