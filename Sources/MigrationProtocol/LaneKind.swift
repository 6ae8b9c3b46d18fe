/// The two flows over which the source answers for blocks (the design's demand and bulk).
package enum LaneKind: Sendable, CaseIterable {
    /// For what a guest waits for.
    case demand
    /// For everything else; yields to the other.
    case bulk

    package var purpose: Hello.Purpose { self == .demand ? .demand : .bulk }
}
