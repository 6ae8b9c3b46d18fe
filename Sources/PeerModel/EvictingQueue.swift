/// A queue of bounded length that gives up its oldest item for a new one, so that long waits keep nobody else out.
package struct EvictingQueue<Item: Sendable>: Sendable {
    private let limit: Int
    /// The oldest first.
    private var items: [Item] = []

    /// - Parameter limit: 1 or more.
    package init(limit: Int) {
        precondition(limit > 0)
        self.limit = limit
    }

    package var isEmpty: Bool { items.isEmpty }

    /// Appends an item.
    /// - Returns: the oldest item if there is no room for both; it is not in the queue any more. Otherwise nil.
    package mutating func append(_ item: Item) -> Item? {
        items.append(item)
        return items.count > limit ? items.removeFirst() : nil
    }

    /// Removes the items that are `found`.
    package mutating func removeAll(where found: (Item) -> Bool) { items.removeAll(where: found) }
}
