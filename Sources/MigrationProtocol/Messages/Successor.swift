import PeerModel

/// The node to which a disk has moved on from the destination.
public struct Successor: Sendable, Equatable {
    /// Its peer address, as the user of the node in between has said.
    package let address: PeerAddress
    /// Whether, as far as the node in between knows, nobody writes to the disk but through itself.
    package let mayRepeat: Bool

    package init(address: PeerAddress, mayRepeat: Bool) {
        self.address = address
        self.mayRepeat = mayRepeat
    }

    /// The reason why a node that was told of it by `destination` can't use the address; nil if it may try.
    package func problem(from destination: PeerAddress) -> String? {
        guard address.isWellFormed else { return "its address is malformed" }
        // The address means another machine there.
        guard !address.isLoopback || destination.isLoopback else {
            return "\(address) is an address of that machine alone"
        }
        return nil
    }
}
