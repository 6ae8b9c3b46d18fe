import Synchronization

/// The claim of a command on an export: no migration begins meanwhile, and no other claim. Any thread may use it.
final class ExportClaim: Sendable {
    enum Purpose: Sendable {
        /// The free blocks of its file systems are punched.
        case trim
        /// Another opening of its disk takes the place of the first.
        case resize

        /// The error of another command on the export of this name.
        func refusal(of name: String) -> NodeError {
            switch self {
            case .trim: .isTrimmed(name)
            case .resize: .isResized(name)
            }
        }
    }

    let purpose: Purpose
    private let held = Atomic(true)

    init(for purpose: Purpose) { self.purpose = purpose }

    /// Whether the command still runs.
    var isHeld: Bool { held.load(ordering: .acquiring) }

    /// Ends the claim.
    func release() { held.store(false, ordering: .releasing) }
}
