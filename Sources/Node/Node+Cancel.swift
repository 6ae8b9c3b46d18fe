import Migration

/// Disks on their way here that this node's operator gives up.
extension Node {
    /// Gives up a disk that comes here.
    /// - Parameters:
    ///   - isSourceGone: whether it is given up though its source may have given it away.
    ///   - hasLeft: whether it has moved on from here.
    /// - Returns: false where none of that name does.
    /// - Throws: `NodeError` where it comes, or has come, and can't be given up.
    static func cancelArrival(
        of export: String, at site: IncomingDiskRegistry, isSourceGone: Bool, hasLeft: Bool
    ) async throws -> Bool {
        switch await site.cancel(export, isSourceGone: isSourceGone) {
        case .cancelled: return true
        case .unknown: return false
        case .handedOver:
            if hasLeft { return false }
            throw NodeError.unusable(
                "\(export) has been handed over to this node, which serves it; what has moved can't be cancelled, but "
                    + "migrated again")
        case .impossible(let reason): throw NodeError.unusable(reason)
        }
    }
}
