/// A migration can't go on; the source keeps or takes back the disk.
public enum MigrationError: Error, CustomStringConvertible {
    /// The other node said no, in its own words.
    case refused(String)
    /// The other node said no, in its own words: it has too little room.
    case noRoom(String)
    /// This node can't, for a reason of its own.
    case impossibleHere(String)
    /// The other node gave up, in its own words.
    case peerFailed(String)
    /// The peer sent a message that can't stand at this place.
    case unexpected(String)
    /// The releases are too far apart.
    case noCommonVersion(source: ClosedRange<UInt16>, destination: ClosedRange<UInt16>)
    /// The roots differ: the copy is not the disk.
    case rootsDiffer(source: DiskRoot, destination: DiskRoot)
    /// The guest could not be kept waiting any longer.
    case tooSlow
    /// The node ends while the destination takes the disk over.
    case stopping
    /// The node ends while the destination still needs blocks of it.
    case stoppingPostcopy
    /// The operator said so.
    case cancelled
    /// The node ends, and goes on with it when it is started again.
    case suspended

    /// The words of a node that is asked by itself: it is the "other" node to nobody.
    package static let sameNode = "the address leads back to this node; give --to that of the other node"

    /// One line for the user.
    public var description: String {
        switch self {
        case .refused(Self.sameNode): Self.sameNode
        case .impossibleHere(let reason): reason
        case .refused(let reason), .noRoom(let reason): "the other node refused: \(reason)"
        case .peerFailed(let reason): "the destination gave up: \(reason)"
        case .unexpected(let what): "the peer broke the protocol: \(what)"
        case .noCommonVersion(let source, let destination):
            "the source speaks \(Self.name(source)) of the migration protocol and the destination "
                + "\(Self.name(destination)); run releases that have one in common"
        case .rootsDiffer(let source, let destination):
            "the copy differs from the disk (root \(source) here, \(destination) there); the disk stays here, migrate again"
        case .tooSlow:
            "the destination did not answer while the guest waited; the export is served here as before, migrate again"
        case .stopping:
            "the disk has been switched over, but the destination has not said yet that it serves it; "
                + "start this node again so that it is told"
        case .stoppingPostcopy:
            "the disk has been switched over, but some of it is only here yet; start this node again so that it gets there"
        case .cancelled: "cancelled; the export is served here as before"
        case .suspended: "this node ends; the migration goes on when it is started again"
        }
    }

    private static func name(_ versions: ClosedRange<UInt16>) -> String {
        versions.count == 1
            ? "version \(versions.lowerBound)" : "versions \(versions.lowerBound) to \(versions.upperBound)"
    }
}
