/// Items of many clients that one worker serves in turns: each client that waits has one turn before any has its next.
/// Within a client, first come, first served.
///
/// 1. `add` at any time.
/// 2. `first` is what to work on. `removeFirst` once that is done; `rotate` at the end of the client's turn.
struct TurnQueue<Client: Hashable, Item> {
    private var items: [Client: [Item]] = [:]
    private var order: [Client] = []

    /// Clients that have something waiting.
    var clientCount: Int { order.count }

    /// The oldest item of the client whose turn it is; nil where nothing waits.
    var first: Item? { order.first.flatMap { items[$0]?.first } }

    /// Puts an item behind those of the same client; a client that had none is the last to have its turn.
    mutating func add(_ item: Item, of client: Client) {
        if items[client] == nil { order.append(client) }
        items[client, default: []].append(item)
    }

    /// Takes `first` out.
    /// - Returns: the next item of the same client, whose turn goes on; nil where it has none, and its turn is over.
    mutating func removeFirst() -> Item? {
        let client = order[0]
        items[client]!.removeFirst()
        if let next = items[client]!.first { return next }
        items[client] = nil
        order.removeFirst()
        return nil
    }

    /// Ends the turn of the client that has it and still has items.
    mutating func rotate() {
        order.append(order.removeFirst())
    }
}

extension TurnQueue: Sendable where Client: Sendable, Item: Sendable {}
