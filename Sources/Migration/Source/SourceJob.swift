import Block
import BlockModel
import MigrationProtocol
import Peer
import PeerModel

/// What a source is to move, and how.
public struct SourceJob: Sendable {
    /// The export's name; the destination serves the disk under it.
    public let export: String
    /// The disk that clients write to.
    public let disk: Disk
    /// The same disk's file.
    public let image: RawImage
    /// Who is to have it.
    public let destination: PeerAddress
    /// When it is handed over.
    public let switchover: Switchover
    /// How long a guest's request may wait at the switchover; nil for twice the round trip and `standardPause`.
    public let maximumPause: Duration?
    /// Limits what is sent.
    public let rate: RateLimit
    /// What is remembered of the image.
    public let records: SourceRecords
    /// The domains of the neighbours that it may be made of, at most 255 of at most `longestDomain` bytes; none for all.
    public var domains: [String] = []
    /// How often the disk is gone over at most before what is left is left for later; at least 1. Only where it is handed
    /// over by itself.
    public var maximumRounds = Int.max
    /// The disk may be handed over once no more is left to be sent, whatever that takes. Bytes.
    public var dirtyThreshold: UInt64 = 0

    /// The disks of this node's other exports of the same image, which are handed over at the same moment: whoever reads them
    /// must not go on reading the image that is left behind.
    public var siblings: [Disk] = []
    /// Clients may not write to the disk, and are not to at the destination.
    public var isReadOnly = false
    /// Whether the destination is to check that it has room.
    public var checksSpace = true
    /// Bytes of data of other disks for which there must be room at the destination; only of an estimate.
    public var dataBesides: UInt64 = 0

    /// Shown the map of what is still to be sent, while it is kept.
    public var showing: @Sendable (DirtyMap?) -> Void = { _ in }

    /// Told, once in each attempt, that the destination has taken the offer; on any thread.
    public var accepted: @Sendable () -> Void = {}

    /// Beside two round trips.
    static let standardPause = Duration.milliseconds(50)

    /// Describes a migration.
    public init(
        export: String, disk: Disk, image: RawImage, destination: PeerAddress,
        switchover: Switchover = .converged, maximumPause: Duration? = nil,
        rate: RateLimit,
        records: SourceRecords
    ) {
        self.export = export
        self.disk = disk
        self.image = image
        self.destination = destination
        self.switchover = switchover
        self.maximumPause = maximumPause
        self.rate = rate
        self.records = records
    }

    /// From the return on, every change that a client is told of is in `map`; nil ends that.
    func track(_ map: DirtyMap?) async {
        await disk.track(map)
        showing(map)
    }

    /// Holds back the requests of every export of the image, and returns when none is in flight any more.
    func fence() async {
        await withTaskGroup(of: Void.self) { group in
            for disk in [disk] + siblings { group.addTask { await disk.fence() } }
        }
    }

    /// Puts another device under every export of the image; only behind the fence.
    func replaceDevice(_ device: BlockDevice) async {
        for disk in [disk] + siblings { await disk.replaceDevice(device) }
    }

    /// Ends what `fence` began.
    func unfence() async {
        for disk in [disk] + siblings { await disk.unfence() }
    }
}
