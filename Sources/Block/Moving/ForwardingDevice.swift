import Glibc
import Ring

/// A disk that has moved: every request goes to the node that holds it now.
public final class ForwardingDevice: BlockDevice, @unchecked Sendable {
    private let forwarder: any RequestForwarder

    /// Creates a device whose requests go to `handler`.
    public init(forwarder: any RequestForwarder) {
        self.forwarder = forwarder
        super.init()
    }

    override func start(_ request: UnsafeMutablePointer<BlockRequest>, on port: DiskPort) {
        Self.pass(request, port, to: forwarder)
    }

    static func pass(
        _ request: UnsafeMutablePointer<BlockRequest>, _ port: DiskPort, to forwarder: any RequestForwarder
    ) {
        let pending = PendingRequest(request: request, port: port)
        switch request.pointee.kind {
        case .cache:
            return pending.finish(error: 0)
        case .status:
            // The handler is not asked for the state of its blocks; data is always a right answer.
            _ = request.pointee.addExtent(BlockExtent(length: request.pointee.length, state: []))
            return pending.finish(error: 0)
        case .writeZeroes where request.pointee.mustBeFast:
            return pending.finish(error: ENOTSUP)
        case .read, .write, .flush, .trim, .writeZeroes:
            break
        }
        let hasBuffer = request.pointee.kind.carriesData
        forwarder.forward(
            ForwardedRequest(
                kind: request.pointee.kind,
                isForcedUnitAccess: request.pointee.isForcedUnitAccess,
                mayPunchHole: request.pointee.mayPunchHole,
                offset: request.pointee.offset,
                length: request.pointee.length,
                buffer: UnsafeMutableRawBufferPointer(
                    start: request.pointee.buffer, count: hasBuffer ? Int(request.pointee.length) : 0),
                finish: { pending.finish(error: $0) }))
    }
}
