import Block
import MigrationProtocol

/// The memory of a guest, as a command names it.
public struct MemoryRequest: Codable, Sendable {
    /// Path of the Unix socket to which the guest's hypervisor migrates; the node makes it.
    public var socket: String
    /// Name of the guest at the destination.
    public var name: String
    /// Whether the memory may go before the disks have been copied once; nil means false.
    public var isAtOnce: Bool?
    /// Permission bits of the socket; nil for 0600.
    public var mode: UInt32?
    /// Number of the socket's group; nil for the default.
    public var group: UInt32?

    /// Creates a request; `validate` checks it.
    public init(socket: String, name: String) {
        self.socket = socket
        self.name = name
    }

    /// Checks the name and the socket.
    /// - Throws: `NodeError`.
    func validate() throws {
        if let problem = ExportName.problem(with: name) { throw NodeError.unusable("the guest's name: \(problem)") }
        guard !socket.isEmpty else { throw NodeError.unusable("the memory needs a socket; give --memory PATH") }
        guard mode ?? 0 <= 0o777 else { throw NodeError.unusable("the mode of the memory's socket is beyond 777") }
    }

    var permissions: FilePermissions { FilePermissions(mode: mode, group: group) }
}
