import MigrationProtocol

/// The pieces of another host's images that were asked for, and those that have come: decides what to ask for, and what to
/// keep. It does nothing itself.
struct LentPieces {
    /// A piece of an image.
    struct Key: Hashable {
        /// The 16 bytes that name the image's table.
        let table: [UInt8]
        /// From 0; a piece has `LentPieces.length` bytes.
        let number: UInt64
    }

    enum Content {
        /// The other host has not answered yet.
        case asked
        /// At the end of the image, and where the host has nothing, fewer than `length`.
        case here([UInt8])
    }

    /// Bytes of a piece: on a LAN, a request for fewer costs the other host as much.
    static let length: UInt64 = 64 << 10
    /// The most pieces that are asked for ahead of use.
    private static let mostAsked = 256
    private static let piecesPerRead = UInt64(NeighbourRead.maximumLength) / length

    private let capacity: Int
    private var contents: [Key: Content] = [:]
    /// The pieces that have come, the oldest first.
    private var order: [Key] = []
    private var reads: [UInt32: NeighbourRead] = [:]
    private var nextID: UInt32 = 0

    /// - Parameter capacity: The most pieces that are kept.
    init(capacity: Int) { self.capacity = capacity }

    /// Whether an answer is awaited.
    var isWaiting: Bool { !reads.isEmpty }

    /// The pieces that a range of an image touches.
    static func numbers(of range: Range<UInt64>) -> Range<UInt64> {
        range.isEmpty ? 0..<0 : range.lowerBound / length..<(range.upperBound - 1) / length + 1
    }

    /// The content of a piece; nil if it was not asked for, or was dropped.
    func content(_ key: Key) -> Content? { contents[key] }

    /// Plans the requests for those of an image's pieces that are neither here nor asked for.
    /// - Parameter isNeeded: Whether somebody waits for them; otherwise there is a limit on what is asked for.
    mutating func ask(_ table: [UInt8], _ numbers: Range<UInt64>, isNeeded: Bool) -> [NeighbourRead] {
        var planned: [NeighbourRead] = []
        var run: Range<UInt64>?
        var asked = contents.count - order.count
        for number in numbers {
            let isOpen = contents[Key(table: table, number: number)] == nil && (isNeeded || asked < Self.mostAsked)
            guard isOpen else {
                if let run { planned.append(begin(table, run)) }
                run = nil
                continue
            }
            asked += 1
            if let current = run, current.count < Int(Self.piecesPerRead) {
                run = current.lowerBound..<number + 1
            } else {
                if let run { planned.append(begin(table, run)) }
                run = number..<number + 1
            }
        }
        if let run { planned.append(begin(table, run)) }
        return planned
    }

    private mutating func begin(_ table: [UInt8], _ run: Range<UInt64>) -> NeighbourRead {
        for number in run { contents[Key(table: table, number: number)] = .asked }
        nextID &+= 1
        let read = NeighbourRead(
            id: nextID, table: table, offset: run.lowerBound * Self.length,
            length: UInt32(UInt64(run.count) * Self.length))
        reads[nextID] = read
        return read
    }

    /// Takes an answer.
    /// - Returns: False if nobody has asked for it, or it is longer than what was asked for.
    mutating func take(_ id: UInt32, _ bytes: [UInt8]) -> Bool {
        guard let read = reads.removeValue(forKey: id), bytes.count <= Int(read.length) else { return false }
        let first = read.offset / Self.length
        for index in 0..<UInt64(read.length) / Self.length {
            let start = min(bytes.count, Int(index * Self.length))
            let end = min(bytes.count, start + Int(Self.length))
            let key = Key(table: read.table, number: first + index)
            contents[key] = .here(Array(bytes[start..<end]))
            order.append(key)
        }
        while order.count > capacity { contents[order.removeFirst()] = nil }
        return true
    }

    /// Drops a piece that has come.
    /// - Returns: False if it has not.
    @discardableResult
    mutating func drop(_ key: Key) -> Bool {
        guard case .here = contents[key] else { return false }
        contents[key] = nil
        order.removeAll { $0 == key }
        return true
    }

    /// Forgets what was asked for: no answer will come.
    mutating func giveUp() {
        reads = [:]
        contents = contents.filter {
            if case .asked = $0.value { return false }
            return true
        }
    }
}
