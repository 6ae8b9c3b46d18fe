/// The state of an export in one word, for programs.
public enum ExportCondition: String, CaseIterable, Sendable {
    /// No migration runs, and the disk is whole.
    case serving
    /// A migration connects to the destination for the first time.
    case connecting
    case copying
    /// A migration waits for the switchover.
    case waiting
    case fenced
    /// An attempt is over, and another one follows.
    case reconnecting
    /// Another node has the disk; `sourceNeeded` says whether it needs this one.
    case moved
    /// Another node has the disk and does not answer; requests wait.
    case unreachable
    /// The destination needs nothing more.
    case released
    /// The disk is being copied here; no client can have it yet.
    case arriving
    /// The disk is announced to clients here, and the switchover has not happened.
    case incoming
    /// The disk is served here, and blocks are missing.
    case active
    /// The export is not served.
    case held

    /// Reads a `state` of `ExportStatus`.
    init(state: String) {
        switch state {
        case "post-copy", "moved, and needed by the destination": self = .moved
        case "moved, waiting for the destination": self = .unreachable
        case "held back": self = .held
        default: self = Self(rawValue: state) ?? .serving
        }
    }
}
