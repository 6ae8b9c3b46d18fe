import Block
import BlockModel
import Glibc

/// A way in which a device can fail a request.
public struct RequestFailure: Hashable, Sendable {
    private static let names: [CInt: String] = [
        EIO: "EIO", ENOSPC: "ENOSPC", EDQUOT: "EDQUOT", EFBIG: "EFBIG", ENOMEM: "ENOMEM",
        EROFS: "EROFS", EPERM: "EPERM", EACCES: "EACCES", EINVAL: "EINVAL", EAGAIN: "EAGAIN",
        ENXIO: "ENXIO", ENODEV: "ENODEV", ENODATA: "ENODATA", EREMOTEIO: "EREMOTEIO",
        ETIMEDOUT: "ETIMEDOUT", ESTALE: "ESTALE", EOVERFLOW: "EOVERFLOW", ENOTSUP: "ENOTSUP",
        EBADF: "EBADF", ENOLINK: "ENOLINK", EILSEQ: "EILSEQ",
    ]

    /// What was asked for.
    public let kind: RequestKind
    /// An `errno`.
    public let error: CInt

    /// `read`, `write`, `flush`, `trim`, `writeZeroes`, `cache` or `status`.
    public var request: String { "\(kind)" }

    /// `EIO`, `ENOSPC` and so on; the number of one that has no name here.
    public var errorName: String { Self.names[error] ?? "errno \(error)" }

    /// Whether it is one: a request for zeros that must be fast may be refused, and a node that ends says so.
    init?(kind: RequestKind, error: CInt, mustBeFast: Bool) {
        guard error != 0, error != ESHUTDOWN, error != ENOTSUP || !mustBeFast else { return nil }
        self.kind = kind
        self.error = error
    }
}
