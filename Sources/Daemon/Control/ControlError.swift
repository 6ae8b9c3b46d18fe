/// The control socket can't be used.
public enum ControlError: Error, CustomStringConvertible {
    case taken(path: String)
    case cannotListen(path: String, reason: String)
    case unreachable(path: String, reason: String)
    case ended
    /// What listens there is something else.
    case notControl(path: String)
    /// The default directory is not this user's alone.
    case foreign(directory: String, reason: String)

    /// One line for the user.
    public var description: String {
        switch self {
        case .taken(let path):
            "another node has the control socket \(path); give this one its own with --control PATH"
        case .cannotListen(let path, let reason):
            "cannot make the control socket \(path): \(reason); give another with --control PATH"
        case .unreachable(let path, let reason):
            "cannot reach a node at \(path): \(reason); is nearblock serve running, with the same --control PATH?"
        case .notControl(let path):
            "\(path) is no control socket of nearblock; give the one that the node names when it is ready, with --control PATH"
        case .ended:
            "the node has ended before it answered"
        case .foreign(let directory, let reason):
            "the directory \(directory) of the default control socket is not safe: \(reason); remove it, or make it yours "
                + "with mode 0700, or give another socket with --control PATH"
        }
    }
}
