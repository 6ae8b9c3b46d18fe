import CLibNBD
import Glibc
import NBD
import Ring

/// Commands and answers through libnbd(3), which has the keys of a connection with TLS. The ring polls for the events that
/// libnbd waits for.
final class NBDClientLibrary: NBDClientTransmission {
    private let handle: OpaquePointer
    private let operation: UnsafeMutablePointer<RingOperation>
    /// The events of the poll in flight; 0 if there is none.
    private var polled: UInt32 = 0
    private var isLeft = false
    private var isClosed = false

    init(_ link: NBDClientLink, _ connection: NBDClientConnection) {
        handle = link.handle
        operation = .allocate(capacity: 1)
        super.init(connection)
        operation.initialize(to: RingOperation(handler: self))
    }

    deinit {
        operation.deallocate()
        guard !isClosed else { return }
        // DISCONNECT has no answer to wait for.
        nbd_aio_disconnect(handle, 0)
        nbd_close(handle)
    }

    override var isBroken: Bool { !isClosed && (nbd_aio_is_dead(handle) == 1 || nbd_aio_is_closed(handle) == 1) }

    override func begin(_ command: UnsafeMutablePointer<NBDClientCommand>, _ wire: NBDClientCommand.Wire) -> Bool {
        command.pointee.state = .sent
        command.pointee.room = wire.command == .read ? wire.buffer : nil
        command.pointee.coverage = ReadCoverage()
        guard send(command, wire) < 0 else { return true }
        command.pointee.error = nbd_get_errno() == 0 ? EIO : nbd_get_errno()
        if isBroken {
            command.pointee.state = .idle
            return false
        }
        connection.ended(command)
        return true
    }

    /// - Returns: libnbd's cookie, or -1.
    private func send(_ command: UnsafeMutablePointer<NBDClientCommand>, _ wire: NBDClientCommand.Wire) -> Int64 {
        let done = Self.completion(command)
        let flags = UInt32(wire.flags.rawValue)
        switch wire.command {
        case .read:
            return nbd_aio_pread_structured(
                handle, wire.buffer, Int(wire.length), wire.offset, Self.chunks(command), done, flags)
        case .write: return nbd_aio_pwrite(handle, wire.buffer, Int(wire.length), wire.offset, done, flags)
        case .trim: return nbd_aio_trim(handle, wire.length, wire.offset, done, flags)
        case .writeZeroes: return nbd_aio_zero(handle, wire.length, wire.offset, done, flags)
        case .cache: return nbd_aio_cache(handle, wire.length, wire.offset, done, flags)
        case .blockStatus:
            return nbd_aio_block_status(handle, wire.length, wire.offset, Self.extents(command), done, flags)
        case .flush, .disconnect: return nbd_aio_flush(handle, done, flags)
        }
    }

    /// The callback for the command's end. libnbd calls it once, while it works for the connection.
    private static func completion(_ command: UnsafeMutablePointer<NBDClientCommand>) -> nbd_completion_callback {
        nbd_completion_callback(
            callback: { context, error in
                let command = context!.assumingMemoryBound(to: NBDClientCommand.self)
                let isShort = command.pointee.room != nil && !command.pointee.coverage.isWhole(command.pointee.piece)
                command.pointee.error = error!.pointee == 0 && isShort ? EIO : error!.pointee
                command.pointee.connection._withUnsafeGuaranteedRef { $0.ended(command) }
                return 1
            },
            user_data: UnsafeMutableRawPointer(command), free: nil)
    }

    /// The callback that notes the parts of a read. A server may report success and leave bytes out; the buffer then has others
    /// of its last use.
    private static func chunks(_ command: UnsafeMutablePointer<NBDClientCommand>) -> nbd_chunk_callback {
        nbd_chunk_callback(
            callback: { context, _, count, offset, status, error in
                let command = context!.assumingMemoryBound(to: NBDClientCommand.self)
                guard status != UInt32(LIBNBD_READ_ERROR) else { return 0 }
                if command.pointee.addRead(offset: offset, count: UInt64(count)) { return 0 }
                error!.pointee = EIO
                return -1
            },
            user_data: UnsafeMutableRawPointer(command), free: nil)
    }

    /// The callback for the extents of a status, pairs of a length and flags.
    private static func extents(_ command: UnsafeMutablePointer<NBDClientCommand>) -> nbd_extent_callback {
        nbd_extent_callback(
            callback: { context, name, _, entries, count, _ in
                let command = context!.assumingMemoryBound(to: NBDClientCommand.self)
                guard String(cString: name!) == NBDClientLink.allocation else { return 0 }
                for index in stride(from: 0, to: count - 1, by: 2) {
                    command.pointee.addExtent(length: UInt64(entries![index]), state: UInt64(entries![index + 1]))
                }
                return 0
            },
            user_data: UnsafeMutableRawPointer(command), free: nil)
    }

    // MARK: The ring

    override func proceed() {
        guard !isClosed, !isLeft else { return }
        let direction = nbd_aio_get_direction(handle)
        var events: UInt32 = 0
        if direction & UInt32(LIBNBD_AIO_DIRECTION_READ) != 0 { events |= UInt32(POLLIN) }
        if direction & UInt32(LIBNBD_AIO_DIRECTION_WRITE) != 0 { events |= UInt32(POLLOUT) }
        guard events != polled, events != 0 else { return }
        if polled != 0 { return connection.loop.cancel(operation) }
        polled = events
        hold(true)
        connection.loop.poll(nbd_aio_get_fd(handle), events: events, operation)
    }

    override func completed(_ operation: UnsafeMutablePointer<RingOperation>, result: Int32) {
        polled = 0
        if !isClosed, !isLeft, result > 0 {
            let events = UInt32(result)
            let direction = nbd_aio_get_direction(handle)
            if direction & UInt32(LIBNBD_AIO_DIRECTION_READ) != 0, events & UInt32(POLLIN | POLLHUP | POLLERR) != 0 {
                nbd_aio_notify_read(handle)
            } else if direction & UInt32(LIBNBD_AIO_DIRECTION_WRITE) != 0 {
                nbd_aio_notify_write(handle)
            }
        }
        connection.proceedAtBatchEnd()
        hold(false)
    }

    override func hangUp() { shutdown(nbd_aio_get_fd(handle), CInt(SHUT_RDWR)) }

    override func leave() {
        isLeft = true
        if polled != 0 { connection.loop.cancel(operation) }
    }

    override func close() -> ClosingSocket? {
        guard !isClosed else { return nil }
        isClosed = true
        if polled != 0 { connection.loop.cancel(operation) }
        // libnbd calls `ended` for the commands in flight.
        nbd_close(handle)
        return nil
    }
}
