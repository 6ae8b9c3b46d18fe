/// The bytes behind an item, of known number: first others, then pages.
struct StreamPayload: Equatable, Sendable {
    static let none = StreamPayload()

    /// Bytes that are no pages.
    var others = 0
    /// Bytes of whole pages, less those that were passed.
    var pages = 0

    var isEmpty: Bool { others == 0 && pages == 0 }

    /// Passes the payload, as far as it is there.
    /// - Parameter available: bytes that are there, at least 1; some may be beyond the payload.
    /// - Returns: the bytes that the new parts cover; 0 if a whole page is to be waited for.
    mutating func pass(_ available: Int, isWaiting: Bool, into parts: inout [StreamPart]) -> Int {
        if others > 0 {
            let count = min(others, available)
            others -= count
            parts.append(StreamPart(.bytes, count))
            return count
        }
        let count = min(pages, available)
        let (kind, passed) = page(count, isWaiting: isWaiting)
        guard passed > 0 else { return 0 }
        pages -= passed
        parts.append(StreamPart(kind, passed))
        return passed
    }

    /// The next part of the pages: a page, or bytes if some of the page is missing or was passed already.
    private func page(_ available: Int, isWaiting: Bool) -> (StreamPart.Kind, Int) {
        let rest = pages % StreamPart.pageBytes
        if rest > 0 { return (.bytes, min(rest, available)) }
        if available >= StreamPart.pageBytes { return (.barePage, StreamPart.pageBytes) }
        return (.bytes, isWaiting ? available : 0)
    }
}
