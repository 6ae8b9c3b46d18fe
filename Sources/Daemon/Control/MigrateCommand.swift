import Migration
import MigrationProtocol
import Peer
import PeerModel

/// Arguments of `nearblock migrate`.
public struct MigrateCommand: Codable, Sendable {
    /// Names of the exports: the disks of one guest, with one switchover.
    public var exports: [String]
    /// Address of the destination.
    public var destination: PeerAddress
    /// Condition that starts the switchover.
    public var switchover: Switchover
    /// Limit in bits a second, at least 1; nil for no limit.
    public var rate: UInt64?
    /// Longest downtime in seconds, 0 to 3600; see `SourceJob.maximumPause`.
    public var maximumPause: Double?
    /// Whether to reply as soon as the migration has started.
    public var detach: Bool
    /// Domains whose neighbours the destination may use; empty for all.
    public var domains: [String] = []
    /// Rounds of pre-copy, at least 1; see `SourceJob.maximumRounds`. Nil for no limit.
    public var maximumRounds: Int?
    /// Dirty blocks that allow the switchover; see `SourceJob.dirtyThreshold`. Nil for none.
    public var dirtyThreshold: UInt64?
    /// Whether the destination skips its check for free space; nil means false.
    public var skipsSpaceCheck: Bool?

    /// The guest's memory; nil if only its disks move.
    public var memory: MemoryRequest?

    /// Further destinations, of which the node takes the best one; nil for none, and once one is chosen.
    public var others: [PeerAddress]?

    /// The most destinations that are asked.
    static let mostDestinations = 16

    /// All destinations, in the order in which they were given.
    var destinations: [PeerAddress] { [destination] + (others ?? []) }

    /// The same command for one destination.
    func to(_ destination: PeerAddress) -> MigrateCommand {
        var command = self
        (command.destination, command.others) = (destination, nil)
        return command
    }

    /// Creates a command; `validate` checks it.
    public init(
        exports: [String], destination: PeerAddress, switchover: Switchover = .converged, rate: UInt64?,
        maximumPause: Double? = nil, detach: Bool
    ) {
        self.exports = exports
        self.destination = destination
        self.switchover = switchover
        self.rate = rate
        self.maximumPause = maximumPause
        self.detach = detach
    }

    /// Checks the numbers and names.
    /// - Throws: `NodeError` for the first one that is not allowed.
    func validate() throws {
        guard !exports.isEmpty, Set(exports).count == exports.count else {
            throw NodeError.unusable("name each export once")
        }
        guard exports.count <= IncomingDiskRegistry.maximumReceiving else {
            throw NodeError.unusable(
                "\(exports.count) disks are too many for one switchover, which takes at most "
                    + "\(IncomingDiskRegistry.maximumReceiving): each takes 128 MiB of memory at the destination; give fewer in one command"
            )
        }
        try memory?.validate()
        guard destinations.count <= Self.mostDestinations, Set(destinations).count == destinations.count else {
            throw NodeError.unusable("give --to at most \(Self.mostDestinations) times, and each address once")
        }
        for destination in destinations
        where !(1...PeerAddress.longestHost).contains(destination.host.utf8.count) || destination.port == 0 {
            throw NodeError.unusable("no node can listen at \(destination); give --to HOST:PORT")
        }
        guard maximumRounds ?? 1 >= 1 else {
            throw NodeError.unusable("0 rounds are not possible; give at least 1, or --switch now")
        }
        guard maximumRounds == nil || switchover == .converged else {
            throw NodeError.unusable("a limit of rounds works only with --switch converged")
        }
        guard rate != 0 else {
            throw NodeError.unusable("a rate of 0 would never end; give at least 1 bit a second")
        }
        guard domains.count <= 255, domains.allSatisfy({ (1...OfferLimits.longestDomain).contains($0.utf8.count) })
        else {
            throw NodeError.unusable(
                "at most 255 domains can be given, of 1 to \(OfferLimits.longestDomain) bytes each")
        }
        if let maximumPause, !(0...Self.longestPause).contains(maximumPause) {
            throw NodeError.unusable(
                "a downtime of \(maximumPause) s is out of range; give 0 s to \(Int(Self.longestPause)) s")
        }
    }

    private static let longestPause = 3600.0
}
