/// A piece of a stream that is understood as a whole.
struct StreamItem: Equatable, Sendable {
    /// Bytes that are enough to understand any item, with those that it looks ahead.
    static let mostBytes = 1024

    /// `.page` for the header alone of a page: the page is the payload.
    var kind = StreamPart.Kind.bytes
    /// Bytes of the item without its payload, at least 1.
    var count: Int
    var payload = StreamPayload.none
}
