/// Errors that a reply can carry. Protocol text, "Error values".
public enum ErrorCode: UInt32, Sendable {
    case none = 0
    case notPermitted = 1
    case inputOutput = 5
    case noMemory = 12
    case invalid = 22
    case noSpace = 28
    case overflow = 75
    case notSupported = 95
    case shuttingDown = 108

    /// Creates the protocol's value for a local `errno`; an error that the protocol does not know becomes EIO.
    public init(errno code: Int32) {
        switch code {
        case 0: self = .none
        case 1, 30: self = .notPermitted
        case 12: self = .noMemory
        case 22: self = .invalid
        case 27, 28, 122: self = .noSpace
        case 75: self = .overflow
        case 95: self = .notSupported
        case 108: self = .shuttingDown
        default: self = .inputOutput
        }
    }
}
