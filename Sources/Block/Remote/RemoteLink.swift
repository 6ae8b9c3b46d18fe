import CLibNBD

/// A connection that libnbd has made. It is used by one thread at a time.
struct RemoteLink: @unchecked Sendable {
    static let allocation = "base:allocation"

    let handle: OpaquePointer
    let traits: RemoteTraits

    /// Connects, and blocks meanwhile.
    /// - Throws: `RemoteError`.
    init(uri: String) throws {
        guard let handle = nbd_create() else { throw RemoteError.last(uri) }
        do {
            // Not asked for its block sizes, a server has to take requests of any; libnbd(3) would hold us to them.
            guard nbd_set_request_block_size(handle, false) == 0,
                nbd_set_uri_allow_local_file(handle, true) == 0, nbd_add_meta_context(handle, Self.allocation) == 0,
                nbd_connect_uri(handle, uri) == 0
            else { throw RemoteError.last(uri) }
            traits = try RemoteTraits(handle, uri: uri)
        } catch {
            nbd_close(handle)
            throw error
        }
        self.handle = handle
    }

    /// Whether it is of no more use.
    var isBroken: Bool { nbd_aio_is_dead(handle) == 1 || nbd_aio_is_closed(handle) == 1 }
}
