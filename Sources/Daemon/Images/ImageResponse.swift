/// What a node does about an image that has changed under it.
enum ImageResponse: Equatable, Sendable {
    /// New clients get the export as it is.
    case serve
    /// Likewise; the operator is told why it is not what stands at the path.
    case keep(problem: String)
    /// New clients are refused.
    case refuse(problem: String)
    /// New clients get what is at the path now, as any other export.
    case reopen
    /// All clients that come from now on see the new size.
    case resize(to: UInt64)

    /// What the export is, for the decision.
    struct Situation: Sendable {
        /// What was configured.
        var path: String
        /// Bytes that clients are told.
        var told: UInt64
        /// A migration of it runs.
        var isMoving = false
        /// It is another node's.
        var hasMoved = false
        /// A migration has brought it here, in this life of the node, or is to bring the rest of it.
        var hasArrived = false
    }

    /// A disk that moves, has moved or has just come keeps the file and the size that both nodes know of.
    init(to change: ImageChange, in situation: Situation) {
        let path = situation.path
        guard let reason = Self.reasonToKeep(situation) else {
            switch change {
            case .same: self = .serve
            case .replaced: self = .reopen
            case .resized(0): self = .refuse(problem: "\(path) is empty; new clients are refused")
            case .resized(let size): self = .resize(to: size)
            case .missing(let cause): self = .refuse(problem: "\(cause); new clients are refused")
            }
            return
        }
        switch change {
        case .same: self = .serve
        case .replaced: self = .keep(problem: "\(path) is another file now; \(reason.file)")
        case .missing(let cause): self = .keep(problem: "\(cause); \(reason.file)")
        case .resized(let size) where size > situation.told:
            self = .keep(
                problem: "\(path) has grown from \(situation.told) to \(size) bytes; \(reason.size(situation.told))")
        case .resized(let size):
            self = .keep(
                problem:
                    "\(path) has been cut short from \(situation.told) to \(size) bytes; what is beyond that can't be read"
            )
        }
    }

    private static func reasonToKeep(
        _ situation: Situation
    ) -> (file: String, size: (UInt64) -> String)? {
        if situation.hasMoved {
            return (
                "the disk has moved, and clients are forwarded as before",
                { _ in "the disk has moved without that" }
            )
        }
        if situation.isMoving {
            return (
                "the disk is being migrated, and clients and the migration keep the one that was opened",
                {
                    "the migration moves the \($0) bytes that it began with, "
                        + "and if it ends here, clients see the new size"
                }
            )
        }
        guard situation.hasArrived else { return nil }
        return (
            "the disk has come by a migration, and the file that was opened is served until the node starts again",
            { "the disk has come by a migration, and keeps its \($0) bytes until the node starts again" }
        )
    }
}
