/// A disk that the node serves, as `ArrivalMachine` knows it. Migrations that brought the same disk share its number.
package struct ServedDisk: Hashable, Sendable {
    private let number: UInt64

    /// - Parameter number: unique in the life of the node.
    package init(number: UInt64) {
        self.number = number
    }
}
