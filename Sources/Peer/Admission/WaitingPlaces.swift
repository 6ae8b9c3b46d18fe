/// Items of several peers that wait for something, up to a limit. One more displaces the oldest item of the peer that has
/// most of them, so that a peer with many keeps no other's out. It does no input or output.
struct WaitingPlaces<Peer: Hashable & Sendable, Item: Sendable>: Sendable {
    private let limit: Int
    /// The oldest first.
    private var entries: [(peer: Peer, item: Item)] = []
    private var counts: [Peer: Int] = [:]

    /// Begins with no items.
    /// - Parameter limit: 1 or more.
    init(limit: Int) {
        self.limit = limit
    }

    /// Adds an item.
    /// - Returns: the item that is displaced; nil if there was room.
    mutating func enter(_ item: Item, of peer: Peer) -> Item? {
        entries.append((peer, item))
        counts[peer, default: 0] += 1
        guard entries.count > limit else { return nil }
        let most = counts.values.max()
        // There is one: the peer just counted is among them.
        guard let place = entries.firstIndex(where: { counts[$0.peer] == most }) else { return nil }
        return remove(at: place)
    }

    /// Removes the items for which `found` returns true.
    mutating func leave(where found: (Item) -> Bool) {
        while let place = entries.firstIndex(where: { found($0.item) }) { _ = remove(at: place) }
    }

    private mutating func remove(at place: Int) -> Item {
        let entry = entries.remove(at: place)
        let count = counts[entry.peer] ?? 1
        counts[entry.peer] = count == 1 ? nil : count - 1
        return entry.item
    }
}
