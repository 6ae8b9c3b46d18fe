import MigrationProtocol
import NIOCore

/// Keeps the changes that a destination has answered and may still lose if its machine goes down: those since the last
/// flush.
///
/// The source can make them again on a destination whose machine has restarted, as an NFS client does with unstable
/// writes (RFC 1813, 3.3.7). Its clients were told that they are done, and do not repeat them.
package struct UnflushedChanges {
    private var changes: [ForwardRequest] = []
    /// How many have been dropped so far: the number of the first that is kept.
    private var dropped: UInt64 = 0
    /// Flushes on their way, and the number of the first change that each may not cover.
    private var flushes: [UInt64: UInt64] = [:]

    /// Bytes of memory that the changes take.
    package private(set) var bytes = 0

    package init(bytes: Int = 0) {
        self.bytes = bytes
    }

    /// A change was answered.
    package mutating func note(_ change: ForwardRequest) {
        changes.append(change)
        bytes += Self.cost(change)
    }

    /// A flush leaves for the destination.
    package mutating func flushLeaves(_ id: UInt64) { flushes[id] = dropped + UInt64(changes.count) }

    /// A flush was done: what was answered before it left is durable.
    package mutating func flushed(_ id: UInt64) {
        guard let end = flushes.removeValue(forKey: id), end > dropped else { return }
        let count = Int(end - dropped)
        for change in changes[..<count] { bytes -= Self.cost(change) }
        changes.removeFirst(count)
        dropped = end
    }

    /// The requests on their way will not be answered.
    package mutating func linkLost() { flushes = [:] }

    /// The changes that bring a disk which has lost any of them to where it was. No two touch the same byte, so they may
    /// be made in any order. Each has its number in the result as its `id`.
    package func again() -> [ForwardRequest] {
        var newer = RangeSet<UInt64>()
        var again: [ForwardRequest] = []
        for change in changes.reversed() {
            let range = change.offset..<change.offset + change.length
            for part in RangeSet(range).subtracting(newer).ranges {
                var piece = change
                piece.offset = part.lowerBound
                piece.length = part.upperBound - part.lowerBound
                if change.kind == .write {
                    let start = change.payload.readerIndex + Int(part.lowerBound - range.lowerBound)
                    piece.payload = change.payload.getSlice(at: start, length: Int(piece.length))!
                }
                piece.id = UInt64(again.count)
                again.append(piece)
            }
            newer.insert(contentsOf: range)
        }
        return again
    }

    private static func cost(_ change: ForwardRequest) -> Int {
        change.payload.readableBytes + MemoryLayout<ForwardRequest>.stride
    }
}
