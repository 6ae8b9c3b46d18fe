import Ring

/// A disk that has moved: every request goes to the node that holds it now.
public final class ForwardingDevice: BlockDevice, @unchecked Sendable {
    private let forwarder: any AsyncRequestHandler

    /// Creates a device whose requests go through `forwarder`.
    public init(forwarder: any AsyncRequestHandler) {
        self.forwarder = forwarder
        super.init()
    }

    override func start(_ request: UnsafeMutablePointer<BlockRequest>, on port: DiskPort) {
        forwarder.start(request, on: port)
    }
}
