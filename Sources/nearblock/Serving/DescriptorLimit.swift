import Glibc
import NBDServer

/// Limit of open files for this process.
enum DescriptorLimit {
    /// Descriptors for images, tables, peers and the rest.
    private static let others: rlim_t = 3072

    /// Raises the soft limit for as many clients as the server accepts, as far as the hard limit allows. The default
    /// soft limit is low only for programs that use select(2).
    static func raise() {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return }
        let wanted = min(limit.rlim_max, rlim_t(ServerLimits.connections) + others)
        guard limit.rlim_cur < wanted else { return }
        limit.rlim_cur = wanted
        setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    }
}
