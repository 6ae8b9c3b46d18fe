/// The two connections of post-copy, over which the source answers for blocks.
package enum PostCopyChannel: Sendable, CaseIterable {
    /// For what a guest waits for.
    case demand
    /// Carries everything else; yields to the other.
    case bulk

    package var purpose: Hello.Purpose { self == .demand ? .demand : .bulk }
}
