/// The places that peers have taken, with one limit for each peer and one for all of them. It does no input or output.
public struct PeerCounts<Peer: Hashable & Sendable>: Sendable {
    private let limit: Int
    private let limitPerPeer: Int
    private var counts: [Peer: Int] = [:]
    /// Places that are taken.
    public private(set) var total = 0

    /// Begins with no place taken.
    /// - Parameters:
    ///   - limit: places of all peers together, 1 or more.
    ///   - limitPerPeer: places of one peer, 1 or more.
    public init(limit: Int, limitPerPeer: Int) {
        self.limit = limit
        self.limitPerPeer = limitPerPeer
    }

    /// Places that one peer has.
    public func count(of peer: Peer) -> Int { counts[peer] ?? 0 }

    /// Whether a peer may take one more place.
    public func hasRoom(for peer: Peer) -> Bool { total < limit && count(of: peer) < limitPerPeer }

    /// Takes a place, if there is one for this peer; it must be given back once.
    /// - Returns: whether it was taken.
    public mutating func take(_ peer: Peer) -> Bool {
        guard hasRoom(for: peer) else { return false }
        counts[peer, default: 0] += 1
        total += 1
        return true
    }

    /// Gives a place back.
    public mutating func giveBack(_ peer: Peer) {
        guard let count = counts[peer] else { return assertionFailure("a place that was not taken") }
        counts[peer] = count == 1 ? nil : count - 1
        total -= 1
    }
}
