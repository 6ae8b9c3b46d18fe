import Ring

/// A disk that has moved: every request goes to the node that holds it now.
public final class ForwardingDevice: BlockDevice, @unchecked Sendable {
    private let forwarder: any RequestForwarder

    /// Sends requests through `forwarder`.
    public init(forwarder: any RequestForwarder) {
        self.forwarder = forwarder
        super.init()
    }

    override func start(_ request: UnsafeMutablePointer<BlockRequest>, on port: DiskPort) {
        let pending = PendingForward(request: request, port: port)
        let hasBuffer = request.pointee.kind == .read || request.pointee.kind == .write
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
