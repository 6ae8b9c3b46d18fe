import CLibNBD
import Glibc

/// The properties of an export on another NBD server.
struct NBDClientTraits: Equatable, Sendable {
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
        guard size >= 0 else { throw NBDClientError.last(uri) }
        guard size > 0 else { throw NBDClientError(uri, "the export is empty") }
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
        canTellStatus = nbd_can_meta_context(handle, NBDClientLink.allocation) == 1
    }

    /// A line about an export that is not as `earlier`, when the server was first connected.
    func difference(from earlier: NBDClientTraits) -> String {
        size == earlier.size
            ? "the server shows another export than before (other abilities)"
            : "the server shows a disk of \(size) bytes, and before it had \(earlier.size)"
    }

    /// Answers a request that the server does not support: 0, or an `errno`; nil if the server must be asked.
    func answerWithoutServer(_ request: UnsafeMutablePointer<BlockRequest>) -> CInt? {
        switch request.pointee.kind {
        case .flush where !canFlush, .trim where !canTrim, .cache where !canCache:
            // A server that offers no flushes promises durable writes; trims and caching are advice.
            return 0
        case .status where !canTellStatus:
            request.pointee.addAllData()
            return 0
        case .writeZeroes where request.pointee.mustBeFast && !canZeroFast:
            return ENOTSUP
        default:
            return nil
        }
    }

    /// Whether a flush must follow the request's change, because the server can't make a single change durable.
    func mustFlush(_ request: UnsafeMutablePointer<BlockRequest>) -> Bool {
        request.pointee.kind.isChange && request.pointee.isForcedUnitAccess && !canForceUnitAccess && canFlush
    }

    /// Whether the server makes the request's change durable before it answers.
    func makesDurable(_ request: UnsafeMutablePointer<BlockRequest>) -> Bool {
        request.pointee.kind.isChange && request.pointee.isForcedUnitAccess && canForceUnitAccess
    }
}
