/// A connection of a peer, as `ArrivalMachine` knows it. Its driver gives each connection a number that no other has.
package struct ArrivalConnection: Hashable, Sendable {
    private let number: UInt64

    /// - Parameter number: unique in the life of the node.
    package init(number: UInt64) {
        self.number = number
    }
}
