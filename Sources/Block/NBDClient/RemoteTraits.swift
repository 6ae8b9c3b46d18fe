import CLibNBD

/// The properties of an export on another NBD server.
struct RemoteTraits: Equatable, Sendable {
    let size: UInt64
    let isReadOnly: Bool
    let isRotational: Bool
    let canFlush: Bool
    let canForceUnitAccess: Bool
    let canTrim: Bool
    let canZero: Bool
    let canZeroFast: Bool
    let canCache: Bool
    let canMultiConnect: Bool
    let canTellStatus: Bool

    /// Reads the properties from a connected handle; nothing is sent.
    init(_ handle: OpaquePointer, uri: String) throws {
        let size = nbd_get_size(handle)
        guard size >= 0 else { throw RemoteError.last(uri) }
        guard size > 0 else { throw RemoteError(uri, "the export is empty") }
        self.size = UInt64(size)
        isReadOnly = nbd_is_read_only(handle) == 1
        isRotational = nbd_is_rotational(handle) == 1
        canFlush = nbd_can_flush(handle) == 1
        canForceUnitAccess = nbd_can_fua(handle) == 1
        canTrim = nbd_can_trim(handle) == 1
        canZero = nbd_can_zero(handle) == 1
        canZeroFast = nbd_can_fast_zero(handle) == 1
        canCache = nbd_can_cache(handle) == 1
        canMultiConnect = nbd_can_multi_conn(handle) == 1
        canTellStatus = nbd_can_meta_context(handle, RemoteLink.allocation) == 1
    }
}
