import Dispatch
import NBD

/// A request at another server, and the command of the protocol that is in flight for it. A request may take several, one
/// after the other.
struct NBDClientCommand {
    /// The header of the command in flight. It is sent from here, so the struct stays in place and the header stands first.
    var header = CommandHeader(.flush, [], cookie: 0, offset: 0, length: 0)
    /// The number of this struct among those of its connection.
    let index: UInt32
    /// Tells the commands that have used this struct apart.
    var use: UInt32 = 0
    let request: UnsafeMutablePointer<BlockRequest>
    let port: Unmanaged<DiskPort>
    let connection: Unmanaged<NBDClientConnection>
    /// The generation of `NBDClientDurability` before the request began on the connection.
    var begunIn: UInt64 = 0
    /// The time when the request first had no connection; nil if it always had one.
    var lostAt: DispatchTime?

    /// The step of the command.
    var state = State.idle
    /// The result of the last command: 0, or an `errno`.
    var error: CInt = 0
    /// Bytes that the command in flight covers.
    var piece: UInt64 = 0
    /// Bytes that the status in flight has received.
    var received: UInt64 = 0
    /// The parts of a read that libnbd has received.
    var coverage = ReadCoverage()
    /// The answer so far, if this process reads it itself.
    var answer: CommandAnswer?
    /// The bytes that follow the header, if this process sends them itself; nil if there are none.
    var payload: UnsafeRawPointer?
    var payloadLength = 0
    /// The room for what is read; nil if the command is no read.
    var room: UnsafeMutableRawPointer?
    /// The writes that the flush in flight covers, from `NBDClientDurability.beginFlush`.
    var flushMark: UInt64 = 0

    /// The steps of a command on a connection.
    enum State {
        /// No connection has it.
        case idle
        /// It waits to be sent, or is not sent wholly.
        case queued
        /// It is sent, and the answer has not ended.
        case sent
        /// The answer has ended before the ring has told that all is sent.
        case answeredEarly
    }

    /// The tag by which the server names the command.
    var cookie: UInt64 { UInt64(use) << 32 | UInt64(index) }

    /// Goes to the start of the request. On another connection nothing of it counts: a server that has restarted may have lost
    /// what it had acknowledged, and no flush would tell.
    mutating func startOver(_ traits: NBDClientTraits, _ durability: NBDClientDurability) {
        begunIn = durability.generation
        request.pointee.progress = 0
        request.pointee.extentCount = 0
        let isFill = request.pointee.kind == .writeZeroes && !traits.canZero
        request.pointee.stage = isFill ? .zeroFill : .transfer
    }

    /// Adds a part of a read.
    /// - Returns: false if it is outside the range or repeats a part.
    mutating func addRead(offset: UInt64, count: UInt64) -> Bool {
        let start = request.pointee.offset + UInt64(request.pointee.progress)
        guard offset >= start, offset - start <= piece, count <= piece - (offset - start) else { return false }
        return coverage.add(offset - start..<offset - start + count)
    }

    /// Adds an extent of a status. The last one may reach beyond the range.
    mutating func addExtent(length: UInt64, state: UInt64) {
        let length = min(length, piece - received)
        let state = BlockState(rawValue: state).intersection([.hole, .zero])
        guard length > 0, request.pointee.addExtent(BlockExtent(length: length, state: state)) else {
            // The extents behind it have no known place.
            received = piece
            return
        }
        received += length
    }
}
