import Synchronization

/// The claim of a trim on an export: no migration, resize or end of it begins meanwhile. Any thread may use it.
final class TrimClaim: Sendable {
    private let held = Atomic(true)

    /// Whether the trim still runs.
    var isHeld: Bool { held.load(ordering: .acquiring) }

    /// Ends the claim.
    func release() { held.store(false, ordering: .releasing) }
}
