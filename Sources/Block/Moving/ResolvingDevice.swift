import BlockModel
import Glibc
import Ring

/// A disk that was switched over before all of its blocks had arrived.
///
/// Requests for present blocks are served as from any file, without locks. Requests that touch a missing block or ask
/// for durability go to a resolver.
public final class ResolvingDevice: BlockDevice, @unchecked Sendable {
    private let whole: BlockDevice
    private let map: DurablePresentMap
    private let resolver: any AsyncRequestHandler

    /// Creates a device on `image`.
    /// - Parameters:
    ///   - map: the blocks that are present.
    ///   - resolver: serves the other requests, on the same image.
    public init(image: any DiskImage, map: DurablePresentMap, resolver: any AsyncRequestHandler) {
        whole = image.device
        self.map = map
        self.resolver = resolver
        super.init()
    }

    override func start(_ request: UnsafeMutablePointer<BlockRequest>, on port: DiskPort) {
        let isHere = map.holds(offset: request.pointee.offset, length: request.pointee.length)
        // A block may be present while its bit is not durable yet, so a durable change waits for the map as well.
        let isForced = request.pointee.kind.isChange && request.pointee.isForcedUnitAccess
        if isHere && !isForced && request.pointee.kind != .flush { return whole.start(request, on: port) }
        resolver.start(request, on: port)
    }

    override func readIfCached(into buffer: UnsafeMutableRawPointer, length: Int, at offset: UInt64) -> Int {
        guard map.holds(offset: offset, length: UInt64(length)) else { return 0 }
        return whole.readIfCached(into: buffer, length: length, at: offset)
    }

    override func writeAtOnce(from buffer: UnsafeRawPointer, length: Int, at offset: UInt64) -> CInt? {
        guard map.holds(offset: offset, length: UInt64(length)) else { return nil }
        return whole.writeAtOnce(from: buffer, length: length, at: offset)
    }
}
