/// The two flows over which the source answers for blocks (the design's demand and bulk).
package enum LaneKind: Sendable, CaseIterable {
    /// Carries blocks for which a guest waits.
    case demand
    /// Carries everything else; yields to the other.
    case bulk

    package var purpose: Hello.Purpose { self == .demand ? .demand : .bulk }
}
