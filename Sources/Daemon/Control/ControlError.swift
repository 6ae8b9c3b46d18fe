import Glibc

/// Errors of the control socket.
public enum ControlError: Error, CustomStringConvertible {
    case taken(path: String)
    case cannotListen(path: String, reason: String)
    case unreachable(path: String, reason: String)
    /// A node may be there, and this user may not ask it.
    case denied(path: String)
    case ended
    /// Another program listens on the socket.
    case notControl(path: String)
    /// Other users could use the default directory.
    case foreign(directory: String, reason: String)

    /// Message for the user, in one line.
    public var description: String {
        switch self {
        case .taken(let path):
            "another node has the control socket \(path); give this one its own with --control PATH"
        case .cannotListen(let path, let reason):
            "cannot make the control socket \(path): \(reason); give another with --control PATH"
        case .unreachable(let path, let reason):
            "cannot reach a node at \(path): \(reason); is nearblock serve running, with the same --control PATH?"
        case .denied(let path):
            "cannot reach a node at \(path): user \(geteuid()) may not use the socket; run this as root, or as the node's user"
        case .notControl(let path):
            "\(path) is not a nearblock control socket; give the one that the node names when it is ready, with --control PATH"
        case .ended:
            "the node ended before it answered"
        case .foreign(let directory, let reason):
            "the directory \(directory) of the default control socket is not safe: \(reason); remove it, or make it yours "
                + "with mode 0700, or give another socket with --control PATH"
        }
    }
}
