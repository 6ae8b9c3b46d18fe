import Block
import BlockModel
import Index
import MigrationProtocol
import Peer
import PeerModel

/// Describes a disk that is to move, and how.
public struct SourceJob: Sendable {
    /// The export's name; the destination serves the disk under it.
    public let export: String
    /// The disk that clients write to.
    public let disk: Disk
    /// The same disk's file.
    public let image: any DiskImage
    /// The node that is to have it.
    public let destination: PeerAddress
    /// When the switchover comes.
    public let switchover: Switchover
    /// Longest downtime; nil for what `Downtime` allows.
    public let maximumPause: Duration?
    /// Limits what is sent.
    public let rate: RateLimit
    /// The records about the image.
    public let records: SourceRecords
    /// Domains of the neighbours that may be drawn on, at most 255 of at most `longestDomain` bytes; empty for all.
    public var domains: [String] = []
    /// Most rounds before the rest is left for later, at least 1. Only if the switchover comes by itself.
    public var maximumRounds = Int.max
    /// The switchover may come once no more bytes than this are left, whatever they take.
    public var dirtyThreshold: UInt64 = 0

    /// The disks of this node's other exports of the same image. They are switched over at the same moment, because
    /// their clients must not go on reading the old image.
    public var siblings: [Disk] = []
    /// Clients may not write to the disk, here or at the destination.
    public var isReadOnly = false
    /// Whether the destination is to check that it has room.
    public var checksSpace = true
    /// Whether the guest's memory moves too, and may refer to blocks of the disk.
    public var hasMemory = false
    /// Bytes of data of other disks for which the destination must have room; only of an estimate.
    public var dataBesides: UInt64 = 0

    /// Reads which blocks of the image the guest's file systems call free; blocks its thread. nil if nobody is to know.
    public var readFree: (@Sendable (any DiskImage, BlockGeometry) -> BlockSet)?

    /// Finds the places at which a block should begin, in bytes from the start of the disk and in any order. Blocks its thread.
    /// nil if nobody is to look.
    public var findPlaces: (@Sendable (any DiskImage) -> [UInt64])?

    /// Reads the disk's dirty bitmap for backups; called behind the fence. nil if it has none.
    public var readBitmap: (@Sendable () async -> MovedBitmap?)?

    /// Opens the neighbours of this node, of which the stream may refer to those that the destination has too. Blocks its
    /// thread. nil for none.
    public var openIndex: (@Sendable () -> NeighbourIndex?)?
    /// The longest time for which data waits for the search for a prefix: what is sent before does without.
    var prefixPatience = Duration.seconds(3)

    /// Called with the map of blocks that are still to be sent, while it is kept, and then with nil; on any thread.
    public var showing: @Sendable (DirtyMap?) -> Void = { _ in }

    /// Called once in each attempt when the destination has taken the offer; on any thread.
    public var accepted: @Sendable () -> Void = {}

    /// Describes a migration.
    public init(
        export: String, disk: Disk, image: any DiskImage, destination: PeerAddress,
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

    /// Marks every later change in `map` before the client is told of it; nil ends that.
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
