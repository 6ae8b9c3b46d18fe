/// The answer to an `ArrivalQuestion`.
public struct ArrivalAnswer: Sendable, Equatable {
    package var id: UInt32
    /// Whether disks of these domains arrive there, or have arrived.
    package var hasDisks: Bool
    /// Whether blocks that were asked for there were still to come when the time was over.
    package var isLate: Bool
    /// Whether each block can be read there.
    package var has: [Bool]

    package init(id: UInt32, hasDisks: Bool, isLate: Bool, has: [Bool]) {
        precondition(has.count <= ArrivalQuestion.maximumBlocks)
        self.id = id
        self.hasDisks = hasDisks
        self.isLate = isLate
        self.has = has
    }
}
