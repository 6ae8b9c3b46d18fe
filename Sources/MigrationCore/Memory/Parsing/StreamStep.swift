/// The next item of a channel.
enum StreamStep: Equatable, Sendable {
    /// The channel has gone on to what is behind the item.
    ///
    /// The header of a page is an exception: it leaves the channel as it is. It may be asked for again when the page is
    /// there.
    case item(StreamItem)
    /// The item is not whole, and is asked for again when more bytes are there.
    case more
    /// Nothing behind this place can be understood, for this reason.
    case stop(String)

    /// An item that is no page.
    static func bytes(_ count: Int, others: Int = 0, pages: Int = 0) -> StreamStep {
        .item(StreamItem(count: count, payload: StreamPayload(others: others, pages: pages)))
    }
}
