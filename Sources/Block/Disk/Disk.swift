import BlockModel
import NIOConcurrencyHelpers
import Ring
import Synchronization

/// A disk as all loops see it: one port for each loop, and the changes that must happen on all of them. Any thread may
/// use it.
public final class Disk: Sendable {
    /// Bytes. Connected clients may have been told another size (`resize`).
    public var size: UInt64 { length.load(ordering: .relaxed) }
    /// The reads of all clients so far.
    public var reads: ReadCounts { counts.withLockedValue { $0 } }
    /// Counts unflushed changes that a remote server may have lost.
    public let losses: LossCount
    /// Counts what clients have trimmed.
    public let trims = TrimCount()
    private let length: Synchronization.Atomic<UInt64>
    private let counts: NIOLockedValueBox<ReadCounts>
    private let ports: [DiskPort]

    /// Creates a disk of `size` bytes on `device`, for clients on any of `loops`.
    /// - Parameter losses: the counter that `device` uses, if its requests go to a remote server.
    public init(size: UInt64, device: BlockDevice, loops: [EventLoop], losses: LossCount = LossCount()) {
        self.losses = losses
        length = .init(size)
        let reads = ReadCounts(size: size)
        let trims = trims
        counts = NIOLockedValueBox(reads)
        ports = loops.map { DiskPort(loop: $0, device: device, reads: reads, trims: trims) }
    }

    /// The port for code that runs on `loop`.
    public func port(on loop: EventLoop) -> DiskPort {
        ports[loop.index]
    }

    /// Changes the disk's size to that of its image. Connected clients keep the size that they were told. Dirty maps
    /// keep their size and do not cover bytes beyond it.
    public func resize(to size: UInt64) {
        length.store(size, ordering: .relaxed)
        let next = ReadCounts(size: size, from: reads)
        counts.withLockedValue { $0 = next }
        for port in ports { port.loop.post { port.count(in: next) } }
    }

    /// Tracks changes in `map`, or ends the tracking if it is nil. After the return, every change is in the map before
    /// its client is told about it.
    public func track(_ map: DirtyMap?) async {
        for port in ports { await port.loop.perform { port.track(map) } }
    }

    /// Tracks changes in `map` as well, independent of `track` and other followers. After the return, every change is
    /// in the map before its client is told about it.
    public func follow(_ map: DirtyMap) async {
        for port in ports { await port.loop.perform { port.follow(map) } }
    }

    /// Ends the tracking that `follow` began.
    public func unfollow(_ map: DirtyMap) async {
        for port in ports { await port.loop.perform { port.unfollow(map) } }
    }

    /// Holds new requests back and returns when none is in flight any more. Requests wait; none fails.
    public func fence() async {
        await withTaskGroup(of: Void.self) { group in
            for port in ports { group.addTask { await Self.fence(port) } }
        }
    }

    /// Replaces the device of a fenced disk.
    public func replaceDevice(_ device: BlockDevice) async {
        for port in ports { await port.loop.perform { port.replaceDevice(device) } }
    }

    /// Replaces the device for new requests, without a fence; requests in flight end at the old device. Both devices
    /// must lead to the same bytes, since requests at the two are not ordered.
    public func switchDevice(_ device: BlockDevice) async {
        for port in ports { await port.loop.perform { port.switchDevice(device) } }
    }

    /// Ends the fence and submits the requests that were held back, in their order.
    public func unfence() async {
        for port in ports { await port.loop.perform { port.unfence() } }
    }

    private static func fence(_ port: DiskPort) async {
        await withCheckedContinuation { continuation in
            port.loop.post { port.fence { continuation.resume() } }
        }
    }
}
