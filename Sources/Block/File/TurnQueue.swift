/// A queue that serves its clients in turns: each client that waits has a turn before any has its next. Within a
/// client, items are served in order.
///
/// 1. `add` at any time.
/// 2. Work on `first`; call `removeFirst` when it is done, or `rotate` at the end of the client's turn.
struct TurnQueue<Client: Hashable, Item> {
    private var items: [Client: [Item]] = [:]
    private var order: [Client] = []

    /// The number of clients with items.
    var clientCount: Int { order.count }

    /// The oldest item of the client whose turn it is; nil if the queue is empty.
    var first: Item? { order.first.flatMap { items[$0]?.first } }

    /// Appends an item of a client; a client without items has its turn last.
    mutating func add(_ item: Item, of client: Client) {
        if items[client] == nil { order.append(client) }
        items[client, default: []].append(item)
    }

    /// Removes `first`.
    /// - Returns: the next item of the same client, whose turn continues; nil if it has none, and its turn is over.
    mutating func removeFirst() -> Item? {
        let client = order[0]
        items[client]!.removeFirst()
        if let next = items[client]!.first { return next }
        items[client] = nil
        order.removeFirst()
        return nil
    }

    /// Ends the turn of the current client, which still has items.
    mutating func rotate() {
        order.append(order.removeFirst())
    }
}

extension TurnQueue: Sendable where Client: Sendable, Item: Sendable {}
