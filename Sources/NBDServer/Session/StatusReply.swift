import Block
import BlockModel
import NBD

/// The reply to a block status, put together in the buffer of its request: a chunk for each context.
struct StatusReply {
    /// Bytes at the start of a context's part of the buffer, for the header of its chunk.
    private static let headerRoom = 64
    /// In QEMU's dirty bitmaps, and in the maps of our own: the block is marked.
    private static let marked: UInt64 = 1

    /// One for each context of the negotiation; nil where it is the device's to say, or the map is gone.
    private let marks: [BlockMarks?]
    private let negotiation: Negotiation

    /// For a connection that has agreed on `negotiation`, to an export that has `maps`.
    init(_ negotiation: Negotiation, _ maps: ExportMaps) {
        precondition(Reply.maximumHeader <= Self.headerRoom)
        self.negotiation = negotiation
        marks = negotiation.contexts.map { maps.find($0.name) }
    }

    /// Bytes of the buffer that `extents` for each context need.
    func bufferLength(extents: Int) -> Int {
        marks.count * (Self.headerRoom + extents * MemoryLayout<BlockExtent>.stride)
    }

    /// Puts the whole reply at the start of the buffer, where the device has left its extents.
    /// - Returns: its bytes.
    func store(_ slot: UnsafeMutablePointer<BlockRequest>) -> Int {
        let buffer = slot.pointee.buffer!
        let header = Reply.statusHeaderLength(negotiation.style)
        var end = 0
        // The device's extents come first: no other is there yet that moving them could hit.
        precondition(negotiation.contexts.dropFirst().allSatisfy { $0 != .allocation })
        for (index, context) in negotiation.contexts.enumerated() {
            let chunk = buffer + end
            let count =
                context == .allocation
                ? storeAllocation(slot, after: header) : storeMarks(marks[index], slot, to: chunk + header)
            Reply.storeStatus(
                negotiation.style, context, cookie: slot.pointee.cookie, offset: slot.pointee.offset, count: count,
                isLast: index == negotiation.contexts.count - 1, to: chunk)
            end += header + count * Reply.extentLength(negotiation.style)
        }
        return end
    }

    /// - Returns: how many extents.
    private func storeAllocation(_ slot: UnsafeMutablePointer<BlockRequest>, after header: Int) -> Int {
        let buffer = slot.pointee.buffer!
        let count = slot.pointee.extentCount
        let stride = MemoryLayout<BlockExtent>.stride
        // In place from there: an extent is never longer on the wire than in memory.
        let moved = buffer + Self.headerRoom
        moved.copyMemory(from: buffer, byteCount: count * stride)
        let size = Reply.extentLength(negotiation.style)
        for index in 0..<count {
            let extent = (moved + index * stride).load(as: BlockExtent.self)
            Reply.storeExtent(
                negotiation.style, length: extent.length, state: extent.state.rawValue,
                to: buffer + header + index * size)
        }
        return count
    }

    /// Everything is marked in a map that is gone.
    /// - Returns: how many extents.
    private func storeMarks(
        _ marks: BlockMarks?, _ slot: UnsafeMutablePointer<BlockRequest>, to bytes: UnsafeMutableRawPointer
    ) -> Int {
        let size = Reply.extentLength(negotiation.style)
        let end = slot.pointee.offset + slot.pointee.length
        var offset = slot.pointee.offset
        var count = 0
        while offset < end, count < slot.pointee.extentLimit {
            let run = marks?.run(in: offset..<end) ?? (isMarked: true, end: end)
            Reply.storeExtent(
                negotiation.style, length: run.end - offset, state: run.isMarked ? Self.marked : 0,
                to: bytes + count * size)
            offset = run.end
            count += 1
        }
        return count
    }
}
