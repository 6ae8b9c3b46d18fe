import CLibNBD
import Dispatch

/// A request in libnbd; it may take several commands of the protocol, one after the other.
final class NBDClientCommand {
    let request: UnsafeMutablePointer<BlockRequest>
    let port: DiskPort
    /// The connection that collects ended commands.
    unowned let connection: NBDClientConnection
    /// The result of the last command: 0, or an `errno`.
    var error: CInt = 0
    /// Bytes that the command in flight covers.
    var piece: UInt64 = 0
    /// Bytes that the read in flight has received.
    var received: UInt64 = 0
    /// The time when the request first lost its connection; nil if it never did.
    var lostAt: DispatchTime?
    /// The writes that the flush in flight covers, from `NBDClientDurability.beginFlush`.
    var flushMark: UInt64 = 0

    init(_ request: UnsafeMutablePointer<BlockRequest>, _ port: DiskPort, on connection: NBDClientConnection) {
        self.request = request
        self.port = port
        self.connection = connection
    }

    /// The callback for the command's end. libnbd calls it once, while it works for the connection.
    func completion() -> nbd_completion_callback {
        nbd_completion_callback(
            callback: { context, error in
                let command = Unmanaged<NBDClientCommand>.fromOpaque(context!).takeUnretainedValue()
                command.error = error!.pointee
                command.connection.ended(command)
                return 1
            },
            user_data: Unmanaged.passRetained(self).toOpaque(),
            free: { Unmanaged<NBDClientCommand>.fromOpaque($0!).release() })
    }

    /// The callback that counts the bytes of a read: a server may report success and leave bytes out.
    func chunks() -> nbd_chunk_callback {
        nbd_chunk_callback(
            callback: { context, _, count, _, status, _ in
                let command = Unmanaged<NBDClientCommand>.fromOpaque(context!).takeUnretainedValue()
                if status != UInt32(LIBNBD_READ_ERROR) { command.received += UInt64(count) }
                return 0
            },
            user_data: Unmanaged.passRetained(self).toOpaque(),
            free: { Unmanaged<NBDClientCommand>.fromOpaque($0!).release() })
    }

    /// The callback for the extents of a status.
    func extents() -> nbd_extent_callback {
        nbd_extent_callback(
            callback: { context, name, _, entries, count, _ in
                let command = Unmanaged<NBDClientCommand>.fromOpaque(context!).takeUnretainedValue()
                if String(cString: name!) == NBDClientLink.allocation { command.addExtents(entries!, count) }
                return 0
            },
            user_data: Unmanaged.passRetained(self).toOpaque(),
            free: { Unmanaged<NBDClientCommand>.fromOpaque($0!).release() })
    }

    /// Adds pairs of a length and flags; the last may reach beyond the range.
    private func addExtents(_ entries: UnsafePointer<UInt32>, _ count: Int) {
        var left = piece
        for index in stride(from: 0, to: count - 1, by: 2) where left > 0 {
            let length = min(UInt64(entries[index]), left)
            left -= length
            let state = BlockState(rawValue: UInt64(entries[index + 1])).intersection([.hole, .zero])
            guard length > 0, request.pointee.addExtent(BlockExtent(length: length, state: state)) else { return }
        }
    }
}
