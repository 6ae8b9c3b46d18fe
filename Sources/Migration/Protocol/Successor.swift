import Peer

/// The node to which the node that a disk was handed to has moved it on.
public struct Successor: Sendable, Equatable {
    /// Where its peers reach it, as the user of the node in between has said.
    let address: PeerAddress
    /// Whether, as far as the node in between knows, nobody writes to the disk but through itself.
    let mayRepeat: Bool

    /// Why a node that was told of it by `destination` can't use the address; nil where it may try.
    func problem(from destination: PeerAddress) -> String? {
        guard address.isWellFormed else { return "its address is malformed" }
        // There it means another machine than here.
        guard !address.isLoopback || destination.isLoopback else {
            return "\(address) is an address of that machine alone"
        }
        return nil
    }
}
