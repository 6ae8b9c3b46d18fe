import BlockModel
import NIOConcurrencyHelpers
import Ring
import Synchronization

/// A disk as all loops see it: one port a loop, and the changes that must happen on all of them at once.
public final class Disk: Sendable {
    /// Bytes. Clients may have been told another size: `resize`.
    public var size: UInt64 { length.load(ordering: .relaxed) }
    /// What its clients have read so far.
    public var reads: ReadCounts { counts.withLockedValue { $0 } }
    /// Counts changes that another server, to which requests go, may have lost.
    public let losses: LossCount
    private let length: Synchronization.Atomic<UInt64>
    private let counts: NIOLockedValueBox<ReadCounts>
    private let ports: [DiskPort]

    /// A disk of `size` bytes on `device`, for clients of any of `loops`.
    /// - Parameter losses: where `device` counts them, if its requests go to another server.
    public init(size: UInt64, device: BlockDevice, loops: [EventLoop], losses: LossCount = LossCount()) {
        self.losses = losses
        length = .init(size)
        let reads = ReadCounts(size: size)
        counts = NIOLockedValueBox(reads)
        ports = loops.map { DiskPort(loop: $0, device: device, reads: reads) }
    }

    /// The way into this disk for what runs on `loop`.
    public func port(on loop: EventLoop) -> DiskPort {
        ports[loop.index]
    }

    /// Makes the disk longer or shorter, as its image has become. Clients that are there keep the size that they were
    /// told; maps that are kept of it don't grow, and know nothing of what they are too short for.
    public func resize(to size: UInt64) {
        length.store(size, ordering: .relaxed)
        let next = ReadCounts(size: size, from: reads)
        counts.withLockedValue { $0 = next }
        for port in ports { port.loop.post { port.count(in: next) } }
    }

    /// From the return on, every change that a client is told of is in `map`; nil ends the tracking.
    public func track(_ map: DirtyMap?) async {
        for port in ports { await port.loop.perform { port.track(map) } }
    }

    /// From the return on, every change that a client is told of is in `map` too, whatever else is tracked or followed.
    public func follow(_ map: DirtyMap) async {
        for port in ports { await port.loop.perform { port.follow(map) } }
    }

    /// Ends what `follow` began.
    public func unfollow(_ map: DirtyMap) async {
        for port in ports { await port.loop.perform { port.unfollow(map) } }
    }

    /// Holds new requests back and returns when none is in flight any more. Requests wait; none fails.
    public func fence() async {
        await withTaskGroup(of: Void.self) { group in
            for port in ports { group.addTask { await Self.fence(port) } }
        }
    }

    /// Puts another device under the disk; only behind a fence.
    public func replaceDevice(_ device: BlockDevice) async {
        for port in ports { await port.loop.perform { port.replaceDevice(device) } }
    }

    /// Puts another device under the disk for requests from now on; those in flight end where they are. Only where the
    /// two devices lead to the same bytes, so that no order between them is lost.
    public func switchDevice(_ device: BlockDevice) async {
        for port in ports { await port.loop.perform { port.switchDevice(device) } }
    }

    /// Lets requests through again, first those that were held back.
    public func unfence() async {
        for port in ports { await port.loop.perform { port.unfence() } }
    }

    private static func fence(_ port: DiskPort) async {
        await withCheckedContinuation { continuation in
            port.loop.post { port.fence { continuation.resume() } }
        }
    }
}
