import Foundation

/// Sockets that a service manager has opened for this process; sd_listen_fds(3).
enum InheritedSockets {
    private static let first: CInt = 3

    /// Returns the descriptors. Removes the environment variables, so that no child process uses them.
    static func claim() -> [CInt] {
        let environment = ProcessInfo.processInfo.environment
        let names = ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"]
        defer { for name in names { unsetenv(name) } }
        guard environment["LISTEN_PID"].flatMap({ Int32($0) }) == getpid(),
            let count = environment["LISTEN_FDS"].flatMap({ CInt($0) }), count > 0, count < 1 << 16
        else { return [] }
        return (first..<first + count).map { $0 }
    }
}
