import CLibNBD
import Dispatch
import Glibc

/// A connection that libnbd has made. One thread at a time uses it.
struct NBDClientLink: @unchecked Sendable {
    static let allocation = "base:allocation"

    let handle: OpaquePointer
    /// The socket.
    let descriptor: CInt
    let traits: NBDClientTraits
    /// Whether the connection uses TLS, with keys that only libnbd has.
    let isSecure: Bool
    /// Whether the server sends structured replies.
    let isStructured: Bool
    /// The server's number for the context `allocation`; nil if it is not known.
    let allocationContext: UInt32?

    /// Connects. Blocks the thread for at most `timeoutSeconds`: a server may accept and say nothing.
    /// - Parameter findsContext: whether to ask for `allocationContext`, unless the connection uses TLS.
    /// - Throws: `NBDClientError`.
    init(uri: String, timeoutSeconds: Int, findsContext: Bool = false) throws {
        guard let handle = nbd_create() else { throw NBDClientError.last(uri) }
        do {
            // A server that was not asked for its block sizes must accept any; otherwise libnbd(3) would enforce its
            // limits.
            guard nbd_set_request_block_size(handle, false) == 0, nbd_set_uri_allow_local_file(handle, true) == 0,
                nbd_add_meta_context(handle, Self.allocation) == 0, nbd_set_pread_initialize(handle, false) == 0,
                libnbd_refuse_extended_headers(handle) == 0
            else { throw NBDClientError.last(uri) }
            let end = DispatchTime.now() + .seconds(timeoutSeconds)
            try Self.connect(handle, uri, until: end)
            traits = try NBDClientTraits(handle, uri: uri)
            isSecure = nbd_get_tls_negotiated(handle) == 1
            allocationContext =
                findsContext && !isSecure && traits.canTellStatus
                ? try Self.findContext(handle, size: traits.size, uri, until: end) : nil
        } catch {
            nbd_close(handle)
            throw error
        }
        self.handle = handle
        descriptor = nbd_aio_get_fd(handle)
        Self.noticeDeadServer(descriptor)
        isStructured = nbd_get_structured_replies_negotiated(handle) == 1
    }

    /// A host that is gone is noticed within half a minute, whether something is under way to it or not; `tcp(7)`. A Unix socket has
    /// no such options, and needs none.
    private static func noticeDeadServer(_ socket: CInt) {
        func set(_ level: CInt, _ option: CInt, _ value: CInt) {
            var value = value
            setsockopt(socket, level, option, &value, socklen_t(MemoryLayout<CInt>.size))
        }
        set(SOL_SOCKET, SO_KEEPALIVE, 1)
        for (option, value) in [(TCP_USER_TIMEOUT, 30_000), (TCP_KEEPIDLE, 10), (TCP_KEEPINTVL, 5), (TCP_KEEPCNT, 4)] {
            set(CInt(IPPROTO_TCP), option, CInt(value))
        }
    }

    /// Sends DISCONNECT, and closes the connection without waiting.
    func leave() {
        nbd_aio_disconnect(handle, 0)
        nbd_close(handle)
    }

    private static func connect(_ handle: OpaquePointer, _ uri: String, until end: DispatchTime) throws {
        guard nbd_aio_connect_uri(handle, uri) == 0 else { throw NBDClientError.last(uri) }
        while nbd_aio_is_connecting(handle) == 1 { try wait(handle, uri, until: end) }
        guard nbd_aio_is_ready(handle) == 1 else { throw NBDClientError(uri, "the server hung up") }
    }

    /// Begins a command and waits for its end.
    /// - Parameter begin: returns the command's cookie, or -1.
    /// - Throws: `NBDClientError` if it fails or takes longer than `timeoutSeconds`; the link is then unusable.
    func perform(_ uri: String, timeoutSeconds: Int, _ begin: (OpaquePointer) -> Int64) throws {
        let cookie = begin(handle)
        guard cookie >= 0 else { throw NBDClientError.last(uri) }
        let end = DispatchTime.now() + .seconds(timeoutSeconds)
        while true {
            switch nbd_aio_command_completed(handle, UInt64(cookie)) {
            case 1: return
            case 0: try Self.wait(handle, uri, until: end)
            default: throw NBDClientError.last(uri)
            }
        }
    }

    /// Lets libnbd work until something has happened.
    /// - Throws: `NBDClientError` if nothing does until `end`.
    static func wait(_ handle: OpaquePointer, _ uri: String, until end: DispatchTime) throws {
        let now = DispatchTime.now()
        guard now < end else { throw NBDClientError(uri, "no answer in time", code: ETIMEDOUT) }
        let milliseconds = (end.uptimeNanoseconds - now.uptimeNanoseconds) / 1_000_000 + 1
        guard nbd_poll(handle, CInt(min(milliseconds, 60_000))) >= 0 else { throw NBDClientError.last(uri) }
    }

    /// Whether the link is unusable.
    var isBroken: Bool { nbd_aio_is_dead(handle) == 1 || nbd_aio_is_closed(handle) == 1 }
}
