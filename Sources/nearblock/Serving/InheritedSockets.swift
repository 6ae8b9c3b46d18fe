import Foundation

/// Sockets that a service manager has opened for this process; sd_listen_fds(3).
struct InheritedSockets: Equatable {
    private static let first: CInt = 3
    /// Value of `FileDescriptorName=` for a socket on which peers connect.
    private static let peerName = "peer"

    /// Descriptors for NBD clients.
    private(set) var clients: [CInt] = []
    /// Descriptors for peers.
    private(set) var peers: [CInt] = []

    /// Takes the descriptors that belong to this process. Removes the environment variables, so that no child process uses
    /// them.
    static func claim() -> InheritedSockets {
        let environment = ProcessInfo.processInfo.environment
        let variables = ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"]
        defer { for variable in variables { unsetenv(variable) } }
        guard environment["LISTEN_PID"].flatMap({ Int32($0) }) == getpid(),
            let count = environment["LISTEN_FDS"].flatMap({ CInt($0) }), count > 0, count < 1 << 16
        else { return InheritedSockets() }
        return InheritedSockets(count: count, names: environment["LISTEN_FDNAMES"] ?? "")
    }

    private init() {}

    /// - Parameter names: For each descriptor its name, with colons between them; may have fewer.
    private init(count: CInt, names: String) {
        let names = names.split(separator: ":", omittingEmptySubsequences: false)
        for index in 0..<count {
            if Int(index) < names.count, names[Int(index)] == Self.peerName {
                peers.append(Self.first + index)
            } else {
                clients.append(Self.first + index)
            }
        }
    }
}
