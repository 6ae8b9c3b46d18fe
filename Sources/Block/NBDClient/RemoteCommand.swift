import CLibNBD
import Dispatch

/// A request on its way through libnbd, which may take several commands of the protocol.
final class RemoteCommand {
    let request: UnsafeMutablePointer<BlockRequest>
    let port: DiskPort
    /// Whose line of ended commands this one joins.
    unowned let connection: RemoteConnection
    /// 0, or the `errno` of the last command.
    var error: CInt = 0
    /// Bytes that the command in flight covers.
    var piece: UInt64 = 0
    /// Bytes that the read in flight has brought.
    var received: UInt64 = 0
    /// When it was first lost with a connection.
    var lostAt: DispatchTime?
    /// What a flush in flight covers.
    var flushMark: UInt64 = 0

    init(_ request: UnsafeMutablePointer<BlockRequest>, _ port: DiskPort, _ connection: RemoteConnection) {
        self.request = request
        self.port = port
        self.connection = connection
    }

    /// For libnbd: called once, while it works for the connection, when the command has ended.
    func completion() -> nbd_completion_callback {
        nbd_completion_callback(
            callback: { context, error in
                let command = Unmanaged<RemoteCommand>.fromOpaque(context!).takeUnretainedValue()
                command.error = error!.pointee
                command.connection.ended(command)
                return 1
            },
            user_data: Unmanaged.passRetained(self).toOpaque(),
            free: { Unmanaged<RemoteCommand>.fromOpaque($0!).release() })
    }

    /// For libnbd: counts what a read has brought. A server may call a read a success and leave bytes out.
    func chunks() -> nbd_chunk_callback {
        nbd_chunk_callback(
            callback: { context, _, count, _, status, _ in
                let command = Unmanaged<RemoteCommand>.fromOpaque(context!).takeUnretainedValue()
                if status != UInt32(LIBNBD_READ_ERROR) { command.received += UInt64(count) }
                return 0
            },
            user_data: Unmanaged.passRetained(self).toOpaque(),
            free: { Unmanaged<RemoteCommand>.fromOpaque($0!).release() })
    }

    /// For libnbd: takes in what the server says of the allocation.
    func extents() -> nbd_extent_callback {
        nbd_extent_callback(
            callback: { context, name, _, entries, count, _ in
                let command = Unmanaged<RemoteCommand>.fromOpaque(context!).takeUnretainedValue()
                if String(cString: name!) == RemoteLink.allocation { command.takeExtents(entries!, count) }
                return 0
            },
            user_data: Unmanaged.passRetained(self).toOpaque(),
            free: { Unmanaged<RemoteCommand>.fromOpaque($0!).release() })
    }

    /// Pairs of a length and flags; the last may reach beyond what was asked for.
    private func takeExtents(_ entries: UnsafePointer<UInt32>, _ count: Int) {
        var left = piece
        for index in stride(from: 0, to: count - 1, by: 2) where left > 0 {
            let length = min(UInt64(entries[index]), left)
            left -= length
            let state = BlockState(rawValue: UInt64(entries[index + 1])).intersection([.hole, .zero])
            guard length > 0, request.pointee.addExtent(BlockExtent(length: length, state: state)) else { return }
        }
    }
}
