/// Whether a client may have the export that it has chosen.
public enum Admission: Sendable {
    case granted
    /// The export has as many clients as it may have.
    case refused
    /// Clients that may have left are still being finished with.
    case undecided
}
