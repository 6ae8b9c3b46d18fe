import Block
import BlockModel
import Glibc

/// A kind of request failure: the request's kind and the device's error.
public struct RequestFailure: Hashable, Sendable {
    private static let names: [CInt: String] = [
        EIO: "EIO", ENOSPC: "ENOSPC", EDQUOT: "EDQUOT", EFBIG: "EFBIG", ENOMEM: "ENOMEM",
        EROFS: "EROFS", EPERM: "EPERM", EACCES: "EACCES", EINVAL: "EINVAL", EAGAIN: "EAGAIN",
        ENXIO: "ENXIO", ENODEV: "ENODEV", ENODATA: "ENODATA", EREMOTEIO: "EREMOTEIO",
        ETIMEDOUT: "ETIMEDOUT", ESTALE: "ESTALE", EOVERFLOW: "EOVERFLOW", ENOTSUP: "ENOTSUP",
        EBADF: "EBADF", ENOLINK: "ENOLINK", EILSEQ: "EILSEQ",
    ]

    /// The kind of the failed request.
    public let kind: RequestKind
    /// The `errno`.
    public let error: CInt

    /// `read`, `write`, `flush`, `trim`, `writeZeroes`, `cache` or `status`.
    public var request: String { "\(kind)" }

    /// The name of the error, as in `EIO`; its number if it has no name here.
    public var errorName: String { Self.names[error] ?? "errno \(error)" }

    /// Creates the kind of a failure; nil if the error is none. Refusing to write zeros fast is no failure, nor is
    /// ESHUTDOWN while the node ends.
    init?(kind: RequestKind, error: CInt, mustBeFast: Bool) {
        guard error != 0, error != ESHUTDOWN, error != ENOTSUP || !mustBeFast else { return nil }
        self.kind = kind
        self.error = error
    }
}
