import Glibc
import NBDServer

/// How many files this process may have open.
enum DescriptorLimit {
    /// For images, tables, peers and the rest.
    private static let others: rlim_t = 3072

    /// Makes room for as many clients as the server takes, where the hard limit allows it. The soft limit is as low as it
    /// is for programs that use select(2), which this one does not.
    static func raise() {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return }
        let wanted = min(limit.rlim_max, rlim_t(ServerLimits.connections) + others)
        guard limit.rlim_cur < wanted else { return }
        limit.rlim_cur = wanted
        setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    }
}
