extension Node {
    /// Returns the status of all exports, sorted by name.
    public func status() async -> [ExportStatus] {
        await NodeStatus(
            exports: Array(exports.values), registry: registry, heldBack: heldBack.withLockedValue { $0 }
        ).collect()
    }
}
