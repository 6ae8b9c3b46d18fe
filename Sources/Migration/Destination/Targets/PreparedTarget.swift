import Block

/// A place that is ready for an arriving disk.
struct PreparedTarget: Sendable {
    let place: TargetPlace
    /// An earlier attempt may have left blocks of the disk there.
    let isResumed: Bool
}
