/// Finds the pages in the bytes that a QEMU sends on one connection of a live migration.
///
/// It understands the streams of QEMU 7.2 to 10.2, without knowing which capabilities are on: docs/memory-streams.md.
/// Its work for each page does not depend on the page's bytes, and needs no memory but that of the part.
package struct QEMUStreamParser: StreamParser {
    private var channel = QEMUChannel.undecided
    private var main = QEMUMainChannel()
    private var multifd = QEMUMultifdChannel()
    /// Bytes behind the last item.
    private var payload = QEMUPayload.none
    /// Bytes of an item that is not whole, which are covered already. Fewer than `QEMUItem.mostBytes`.
    private var covered: [UInt8] = []
    private var found: QEMUProblem?

    package init() {}

    package var problem: String? { found?.description }

    package var stage: MemoryStage { main.stage }

    package mutating func parse(
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
        let window = covered + bytes.prefix(QEMUItem.mostBytes)
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
        switch step(bytes) {
        case .item(let item):
            if item.kind == .page { return dividePage(bytes.count, item, isWaiting: isWaiting, into: &parts) }
            payload = item.payload
            parts.append(StreamPart(item.kind, item.count))
            return item.count
        case .more: return 0
        case .problem(let problem):
            found = problem
            channel = .opaque
            parts.append(StreamPart(.bytes, bytes.count))
            return bytes.count
        }
    }

    /// The header and the page are one part if both are there.
    private mutating func dividePage(
        _ available: Int, _ header: QEMUItem, isWaiting: Bool, into parts: inout [StreamPart]
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

    private mutating func step(_ bytes: UnsafeRawBufferPointer) -> QEMUStep {
        switch channel {
        case .main: main.next(bytes)
        case .multifd: multifd.next(bytes)
        case .opaque: .bytes(bytes.count)
        case .undecided: begin(bytes)
        }
    }

    /// Finds out what kind of channel this is.
    private mutating func begin(_ bytes: UnsafeRawBufferPointer) -> QEMUStep {
        guard bytes.count >= QEMUChannel.tellingBytes else { return .more }
        let word = bytes.bigEndian(UInt64.self, at: 0)
        switch UInt32(word >> 32) {
        case QEMUChannel.mainMagic: channel = .main
        case QEMUMultifdChannel.magic: channel = .multifd
        default:
            if QEMUChannel.isEncrypted(word) { return .problem(.encrypted) }
            guard QEMUChannel.isReturnPath(word) || beginWithoutMagic(word) else {
                return .problem(.unknownStream(word))
            }
        }
        if channel == .undecided { channel = .opaque }
        return step(bytes)
    }

    /// Two kinds of main channels have no magic number.
    private mutating func beginWithoutMagic(_ word: UInt64) -> Bool {
        if QEMUChannel.isResumption(word) {
            main = QEMUMainChannel(.resumed)
        } else if QEMURAMFlags.mayBegin(with: word) {
            main = QEMUMainChannel(.preempt)
        } else {
            return false
        }
        channel = .main
        return true
    }
}
