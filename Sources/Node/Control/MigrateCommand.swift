import Migration
import MigrationProtocol
import Peer
import PeerModel

/// What `nearblock migrate` asks for.
public struct MigrateCommand: Codable, Sendable {
    /// The names of the exports: the disks of one guest, handed over at one moment.
    public var exports: [String]
    /// Where it goes.
    public var destination: PeerAddress
    /// When it is handed over.
    public var switchover: Switchover
    /// Bits a second; nil for no limit.
    public var rate: UInt64?
    /// As `SourceJob.maximumPause`, in seconds.
    public var maximumPause: Double?
    /// Answer as soon as the migration has begun.
    public var detach: Bool
    /// The domains of the destination's neighbours that may be drawn on; none for all.
    public var domains: [String] = []
    /// As `SourceJob.maximumRounds`; nil for no limit.
    public var maximumRounds: Int?
    /// As `SourceJob.dirtyThreshold`; nil for none.
    public var dirtyThreshold: UInt64?
    /// The destination is not to check that it has room; nil for no.
    public var skipsSpaceCheck: Bool?

    /// Describes a migration.
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

    /// - Throws: `NodeError` where a number makes no sense.
    func validate() throws {
        guard !exports.isEmpty, Set(exports).count == exports.count else {
            throw NodeError.unusable("name each export once")
        }
        guard exports.count <= IncomingDiskRegistry.maximumReceiving else {
            throw NodeError.unusable(
                "\(exports.count) disks can't be handed over together, but at most \(IncomingDiskRegistry.maximumReceiving): "
                    + "each takes 128 MiB of memory at the destination meanwhile; give fewer in one command")
        }
        guard (1...PeerAddress.longestHost).contains(destination.host.utf8.count), destination.port != 0 else {
            throw NodeError.unusable("no node can listen at \(destination); give --to HOST:PORT")
        }
        guard maximumRounds ?? 1 >= 1 else {
            throw NodeError.unusable("no rounds at all are --switch now; give at least 1")
        }
        guard maximumRounds == nil || switchover == .converged else {
            throw NodeError.unusable("rounds are counted only with --switch converged")
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
                "a pause of \(maximumPause) s can't be; give 0 s to \(Int(Self.longestPause)) s")
        }
    }

    private static let longestPause = 3600.0
}
