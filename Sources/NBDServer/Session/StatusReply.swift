import Block
import BlockModel
import NBD

/// Builds the reply to a block status in the buffer of its request: one chunk for each context.
struct StatusReply {
    /// Bytes for the chunk's header at the start of a context's part of the buffer.
    private static let headerRoom = 64
    /// The flag of a marked block, as in QEMU's dirty bitmaps.
    private static let marked: UInt64 = 1

    /// One element for each context of the negotiation; nil for `base:allocation`, and for a map that no longer
    /// exists.
    private let marks: [BlockMarks?]
    private let negotiation: Negotiation

    /// Creates the replies of a connection that has agreed on `negotiation`, to an export with `maps`.
    init(_ negotiation: Negotiation, _ maps: ExportMaps) {
        precondition(Reply.maximumHeader <= Self.headerRoom)
        self.negotiation = negotiation
        marks = negotiation.contexts.map { maps.find($0.name) }
    }

    /// Bytes of buffer for so many extents of each context.
    func bufferLength(extents: Int) -> Int {
        marks.count * (Self.headerRoom + extents * MemoryLayout<BlockExtent>.stride)
    }

    /// Builds the reply at the start of the buffer, where the device has put its extents.
    /// - Returns: bytes of the reply.
    func store(_ slot: UnsafeMutablePointer<BlockRequest>) -> Int {
        let buffer = slot.pointee.buffer!
        let header = Reply.statusHeaderLength(negotiation.style)
        var end = 0
        // The device's extents must come first: no other chunk exists yet when they are moved.
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

    /// Converts the device's extents.
    /// - Returns: the number of extents.
    private func storeAllocation(_ slot: UnsafeMutablePointer<BlockRequest>, after header: Int) -> Int {
        let buffer = slot.pointee.buffer!
        let count = slot.pointee.extentCount
        let stride = MemoryLayout<BlockExtent>.stride
        // The conversion can work in place from there: an extent is never longer on the wire than in memory.
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

    /// Writes the extents of a map; of a map that no longer exists, everything is marked.
    /// - Returns: the number of extents.
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
