/// The answer to a client that chooses an export.
public enum Admission: Sendable {
    case granted
    /// The export has its maximum of clients.
    case refused
    /// Connections that their clients have given up are still counted; the answer depends on them.
    case undecided
}
