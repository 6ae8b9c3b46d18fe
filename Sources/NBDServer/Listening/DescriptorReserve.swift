import Glibc

/// Keeps file descriptors back while clients and peers fill this process's table: for the control socket, and for migrations
/// that are under way, with their files and connections.
///
/// The kernel gives out the lowest descriptor that is free: one that has this number or a higher one says that so many are
/// taken, by whomever.
public struct DescriptorReserve: Sendable, Equatable {
    /// NBD clients are turned away from this number on.
    public let clients: CInt
    /// New migrations are refused from this number on.
    public let migrations: CInt
    /// Other connections of peers are closed from this number on: what is left is for the control socket.
    public let peers: CInt

    /// - Parameter limit: descriptors that the process may have.
    public init(limit: UInt64) {
        let limit = Int(min(limit, UInt64(CInt.max)))
        // Of a small table, a part.
        clients = CInt(limit - min(192, limit / 2))
        migrations = CInt(limit - min(96, limit / 4))
        peers = CInt(limit - min(32, limit / 8))
    }

    /// By the soft limit, which may change while the process runs.
    public static var current: DescriptorReserve {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else {
            return DescriptorReserve(limit: UInt64(CInt.max))
        }
        return DescriptorReserve(limit: UInt64(limit.rlim_cur))
    }

    /// Descriptors that are taken, whatever numbers they have; 0 where nobody can tell. Takes a system call for some hundred of
    /// them: for what is rare.
    public static var inUse: CInt {
        guard let folder = opendir("/proc/self/fd") else { return errno == EMFILE ? .max : 0 }
        defer { closedir(folder) }
        var count: CInt = 0
        while readdir(folder) != nil { count += 1 }
        return count
    }

    /// The lowest descriptor that is free now; the highest number where none is, and 0 where nobody can tell.
    public static var lowestFree: CInt {
        let descriptor = socket(AF_UNIX, CInt(SOCK_DGRAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { return errno == EMFILE ? .max : 0 }
        close(descriptor)
        return descriptor
    }
}
