import MigrationCore
import MigrationProtocol
import NIOCore
import Peer

/// The end of a migration in one word, by which programs tell the reasons of failures apart.
public enum MigrationOutcome: String, CaseIterable, Codable, Sendable {
    /// The disk has moved, and the roots were equal.
    case complete
    /// Another reason, which only the message says.
    case failed
    /// An operator cancelled it, at either node.
    case cancelled
    /// The destination does not answer.
    case unreachable
    /// The destination does not take the disk.
    case refused
    /// The destination has too little room.
    case full
    /// The copy differs from the disk.
    case different
    /// The node ended before it was known how the migration ends.
    case unfinished

    /// Classifies the error of a migration.
    public init(of error: any Error) {
        switch error {
        case let error as MigrationError: self.init(error)
        case PeerError.unreachable, PeerError.cut: self = .unreachable
        case is ChannelError, is IOError: self = .unreachable
        case is CancellationError: self = .cancelled
        default: self = .failed
        }
    }

    private init(_ error: MigrationError) {
        switch error {
        case .cancelled: self = .cancelled
        // The destination's operator has no other words than these.
        case .refused(ArrivalCancel.reason), .peerFailed(ArrivalCancel.reason): self = .cancelled
        case .refused, .noCommonVersion: self = .refused
        case .noRoom: self = .full
        case .rootsDiffer: self = .different
        case .tooSlow: self = .unreachable
        case .stopping, .stoppingPostcopy, .suspended: self = .unfinished
        case .peerFailed, .unexpected, .impossibleHere: self = .failed
        }
    }
}
