import PeerModel

/// The node to which the node that a disk was handed to has moved it on.
public struct Successor: Sendable, Equatable {
    /// Where its peers reach it, as the user of the node in between has said.
    package let address: PeerAddress
    /// Whether, as far as the node in between knows, nobody writes to the disk but through itself.
    package let mayRepeat: Bool

    package init(address: PeerAddress, mayRepeat: Bool) {
        self.address = address
        self.mayRepeat = mayRepeat
    }

    /// Why a node that was told of it by `destination` can't use the address; nil where it may try.
    package func problem(from destination: PeerAddress) -> String? {
        guard address.isWellFormed else { return "its address is malformed" }
        // There it means another machine than here.
        guard !address.isLoopback || destination.isLoopback else {
            return "\(address) is an address of that machine alone"
        }
        return nil
    }
}
