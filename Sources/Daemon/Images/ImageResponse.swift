/// Decides how a node responds to a change of an export's image. Does no I/O.
enum ImageResponse: Equatable, Sendable {
    /// Serve the export as it is.
    case serve
    /// Serve the export as it is, and tell the operator why it differs from the file at the path.
    case keep(problem: String)
    /// Refuse new clients.
    case refuse(problem: String)
    /// Open the file at the path for new clients, as any other export.
    case reopen
    /// Tell all clients that connect from now on the new size.
    case resize(to: UInt64)

    /// Facts about the export that the decision depends on.
    struct Situation: Sendable {
        /// Configured path.
        var path: String
        /// Size in bytes that clients were told.
        var told: UInt64
        /// Whether a migration of it runs.
        var isMoving = false
        /// Whether another node has the disk.
        var hasMoved = false
        /// Whether the disk arrived by migration since the node started, or is still arriving.
        var hasArrived = false
    }

    /// Decides. A disk that moves, has moved or has just arrived keeps the file and size that both nodes agreed on.
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
