import CLibNBD
import CLinux
import Dispatch
import Glibc
import NBD

extension NBDClientLink {
    /// Bytes of the disk that the server is asked about: no server has larger blocks.
    private static let askedLength: UInt64 = 64 << 10
    /// Bytes of the answer that are looked at; a usual one has 32.
    private static let longestAnswer = 4096
    /// Microseconds until the rest of an answer is looked for.
    private static let pauseMicroseconds: useconds_t = 1000

    /// Finds the server's number for the context `allocation`, which libnbd does not tell. One answer is looked at in the
    /// socket before libnbd reads and judges it.
    /// - Returns: nil if the answer does not show the number.
    /// - Throws: `NBDClientError` if the connection is lost, or there is no answer until `end`.
    static func findContext(
        _ handle: OpaquePointer, size: UInt64, _ uri: String, until end: DispatchTime
    ) throws -> UInt32? {
        let extents = ExtentList(limit: min(size, askedLength))
        let cookie = nbd_aio_block_status(
            handle, extents.limit, 0, extents.callback(), nbd_completion_callback(), 0)
        guard cookie >= 0 else { throw NBDClientError.last(uri) }
        // From here on libnbd reads only when it is asked to wait.
        let isSent = nbd_aio_get_direction(handle) == UInt32(LIBNBD_AIO_DIRECTION_READ)
        let number = isSent ? look(nbd_aio_get_fd(handle), UInt64(cookie), until: end) : nil
        while true {
            switch nbd_aio_command_completed(handle, UInt64(cookie)) {
            case 1:
                return extents.extents.isEmpty ? nil : number
            case 0:
                try wait(handle, uri, until: end)
            default:
                let error = NBDClientError.last(uri)
                guard nbd_aio_is_ready(handle) == 1 else { throw error }
                return nil
            }
        }
    }

    /// Returns the context of all extents in the answer that comes next; nil if there are none or several.
    private static func look(_ socket: CInt, _ cookie: UInt64, until end: DispatchTime) -> UInt32? {
        withUnsafeTemporaryAllocation(byteCount: longestAnswer, alignment: 8) { buffer in
            while DispatchTime.now() < end {
                var events = pollfd(fd: socket, events: Int16(POLLIN), revents: 0)
                guard poll(&events, 1, 1000) > 0 else { continue }
                let isWhole = linux_peer_has_closed(socket) == 1
                let count = recv(socket, buffer.baseAddress, buffer.count, CInt(MSG_PEEK))
                if count < 0, errno == EINTR || errno == EAGAIN { continue }
                guard count > 0 else { return nil }
                let answer = UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(buffer)[..<count])
                switch context(of: answer, cookie) {
                case .number(let number): return number
                case .none: return nil
                case .needsMore where count == buffer.count || isWhole: return nil
                case .needsMore: usleep(pauseMicroseconds)
                }
            }
            return nil
        }
    }

    private enum Found {
        case needsMore
        case none
        case number(UInt32)
    }

    private static func context(of answer: UnsafeRawBufferPointer, _ cookie: UInt64) -> Found {
        var rest = answer
        var number: UInt32?
        while true {
            switch ReplyChunk.parse(rest) {
            case .needsMore: return .needsMore
            case .malformed: return .none
            case .chunk(let chunk):
                guard chunk.cookie == cookie, chunk.kind != .status || number ?? chunk.context == chunk.context else {
                    return .none
                }
                if chunk.kind == .status { number = chunk.context }
                let length = chunk.headerLength + chunk.payloadLength
                guard length <= rest.count else { return .needsMore }
                if chunk.isLast { return number.map { .number($0) } ?? .none }
                rest = UnsafeRawBufferPointer(rebasing: rest.dropFirst(length))
            }
        }
    }
}
