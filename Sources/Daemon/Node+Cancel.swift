import Migration

/// Cancellation of arriving disks.
extension Node {
    /// Cancels an arriving disk.
    /// - Parameters:
    ///   - isSourceGone: Whether to cancel even if the source may have given the disk away already.
    ///   - hasLeft: Whether the disk has moved on from here.
    /// - Returns: False if no disk of that name arrives.
    /// - Throws: `NodeError` if the disk can't be cancelled.
    static func cancelArrival(
        of export: String, at site: DestinationSite, isSourceGone: Bool, hasLeft: Bool
    ) async throws -> Bool {
        switch await site.cancel(export, isSourceGone: isSourceGone) {
        case .cancelled: return true
        case .unknown: return false
        case .handedOver:
            if hasLeft { return false }
            throw NodeError.unusable(
                "\(export) has been switched over to this node, which serves it; it can't be cancelled any more, only "
                    + "migrated again")
        case .impossible(let reason): throw NodeError.unusable(reason)
        }
    }
}
