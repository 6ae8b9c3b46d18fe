import MigrationProtocol

/// The purpose for which another host of the site holds a connection. Each has its own places, so that questions about disks
/// that arrive leave those for neighbours free.
enum LoanPurpose: String {
    case neighbours = "read its images"
    case arrivals = "ask about disks that arrive there"

    /// - Returns: Nil for what is no request of another host.
    init?(_ request: Message) {
        switch request {
        case .neighbourRead: self = .neighbours
        case .arrivalQuestion, .arrivalRead: self = .arrivals
        default: return nil
        }
    }
}
