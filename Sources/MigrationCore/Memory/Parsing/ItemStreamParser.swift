/// Divides a stream into parts by the items of a reader, however the bytes are cut.
struct ItemStreamParser<Reader: StreamReader>: StreamParser {
    private var reader = Reader()
    /// Bytes behind the last item.
    private var payload = StreamPayload.none
    /// Bytes of an item that is not whole, which are covered already. Fewer than `StreamItem.mostBytes`.
    private var covered: [UInt8] = []
    private(set) var problem: String?

    var stage: MemoryStage { reader.stage }

    mutating func parse(
        _ bytes: UnsafeRawBufferPointer, isWaiting: Bool, into parts: inout [StreamPart]
    ) -> Int {
        var position = 0
        if !covered.isEmpty {
            position = finishItem(bytes, isWaiting: isWaiting, into: &parts)
            guard covered.isEmpty else { return position }
        }
        position += divide(bytes.from(position), isWaiting: isWaiting, into: &parts)
        guard isWaiting, position < bytes.count else { return position }
        covered.append(contentsOf: bytes[position...])
        parts.append(StreamPart(.bytes, bytes.count - position))
        return bytes.count
    }

    /// Goes on with an item of which some bytes are covered.
    /// - Returns: the bytes that the new parts cover. `covered` is empty if the item is whole.
    private mutating func finishItem(
        _ bytes: UnsafeRawBufferPointer, isWaiting: Bool, into parts: inout [StreamPart]
    ) -> Int {
        let old = covered.count
        let window = covered + bytes.prefix(StreamItem.mostBytes)
        var unused: [StreamPart] = []
        let reached = window.withUnsafeBytes { divide($0, until: old, isWaiting: true, into: &unused) }
        covered.removeAll(keepingCapacity: true)
        if reached < old { covered.append(contentsOf: window[reached..<(isWaiting ? window.count : old)]) }
        let count = reached < old ? (isWaiting ? window.count - old : 0) : reached - old
        if count > 0 { parts.append(StreamPart(.bytes, count)) }
        return count
    }

    /// Divides bytes as far as items and pages are whole.
    /// - Parameter until: the offset from which on no item is begun; nil for the end.
    /// - Returns: the bytes that the new parts cover.
    private mutating func divide(
        _ bytes: UnsafeRawBufferPointer, until: Int? = nil, isWaiting: Bool, into parts: inout [StreamPart]
    ) -> Int {
        var position = 0
        let end = until ?? bytes.count
        while position < end {
            let rest = bytes.from(position)
            let count =
                payload.isEmpty
                ? divideItem(rest, isWaiting: isWaiting, into: &parts)
                : payload.pass(rest.count, isWaiting: isWaiting, into: &parts)
            guard count > 0 else { break }
            position += count
        }
        return position
    }

    private mutating func divideItem(
        _ bytes: UnsafeRawBufferPointer, isWaiting: Bool, into parts: inout [StreamPart]
    ) -> Int {
        switch problem == nil ? reader.next(bytes) : .bytes(bytes.count) {
        case .item(let item):
            if item.kind == .page { return dividePage(bytes.count, item, isWaiting: isWaiting, into: &parts) }
            payload = item.payload
            parts.append(StreamPart(item.kind, item.count))
            return item.count
        case .more: return 0
        case .stop(let reason):
            problem = reason
            parts.append(StreamPart(.bytes, bytes.count))
            return bytes.count
        }
    }

    /// The header and the page are one part if both are there.
    private mutating func dividePage(
        _ available: Int, _ header: StreamItem, isWaiting: Bool, into parts: inout [StreamPart]
    ) -> Int {
        let whole = StreamPart.count(of: .page)
        guard available < whole else {
            parts.append(StreamPart(.page, whole))
            return whole
        }
        guard isWaiting else { return 0 }
        payload = header.payload
        parts.append(StreamPart(.bytes, header.count))
        return header.count
    }
}
