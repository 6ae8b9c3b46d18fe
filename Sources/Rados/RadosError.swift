import Glibc

/// A failed call of librados or librbd; the message is one line that says what to do.
package struct RadosError: Error, CustomStringConvertible, Equatable {
    /// The failed action and its object: "read rados:pool hosts/a".
    package let action: String
    /// The `errno` of the call; 0 if it was not one.
    package let code: CInt
    private let reason: String

    init(_ action: String, reason: String, code: CInt = 0) {
        (self.action, self.reason, self.code) = (action, reason, code)
    }

    /// - Parameter result: What the call has returned, a negative `errno`.
    init(_ action: String, result: CInt) {
        let code = result == .min ? EIO : -result
        self.init(action, reason: "\(String(cString: strerror(code)))\(Self.remedy(code))", code: code)
    }

    package var description: String { "cannot \(action): \(reason)" }

    private static func remedy(_ code: CInt) -> String {
        switch code {
        case ETIMEDOUT: "; see with `ceph -s` whether the cluster is reachable from this host"
        case ENOSPC, EDQUOT: "; the pool is full: see `ceph df`, add space or remove images"
        case EPERM, EACCES: "; give the user `mon 'profile rbd' osd 'allow rwx pool=POOL'` by `ceph auth caps`"
        case EOPNOTSUPP: "; use a replicated pool, for an erasure-coded one can't hold this"
        case ESHUTDOWN: "; the cluster has fenced this client: see `ceph osd blocklist ls`"
        default: ""
        }
    }
}
