import Glibc

/// Reserves file descriptors for the control socket and for migrations that are under way, while clients and peers
/// fill this process's table.
///
/// The kernel gives out the lowest free descriptor. A new descriptor at or above a limit thus shows that so many are
/// taken.
public struct DescriptorReserve: Sendable, Equatable {
    /// NBD clients whose descriptor has this number or a higher one are turned away.
    public let clients: CInt
    /// New migrations are refused from this number on.
    public let migrations: CInt
    /// Other connections of peers are closed from this number on; the rest is for the control socket.
    public let peers: CInt

    /// Divides the descriptors of the process.
    /// - Parameter limit: descriptors that the process may have.
    public init(limit: UInt64) {
        let limit = Int(min(limit, UInt64(CInt.max)))
        // A small table is divided in proportion.
        clients = CInt(limit - min(192, limit / 2))
        migrations = CInt(limit - min(96, limit / 4))
        peers = CInt(limit - min(32, limit / 8))
    }

    /// The reserve for the current soft limit, which may change while the process runs.
    public static var current: DescriptorReserve {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else {
            return DescriptorReserve(limit: UInt64(CInt.max))
        }
        return DescriptorReserve(limit: UInt64(limit.rlim_cur))
    }

    /// The number of open descriptors; 0 if it is unknown. One call lists them all and makes a system call for some
    /// hundred of them, so it is for rare checks.
    public static var inUse: CInt {
        guard let folder = opendir("/proc/self/fd") else { return errno == EMFILE ? .max : 0 }
        defer { closedir(folder) }
        var count: CInt = 0
        while readdir(folder) != nil { count += 1 }
        return count
    }

    /// The lowest free descriptor; the highest number if none is free, and 0 if it is unknown.
    public static var lowestFree: CInt {
        let descriptor = socket(AF_UNIX, CInt(SOCK_DGRAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { return errno == EMFILE ? .max : 0 }
        close(descriptor)
        return descriptor
    }
}
