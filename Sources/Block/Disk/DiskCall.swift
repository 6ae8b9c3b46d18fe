import Glibc

/// One request of a `DiskClient`. It keeps itself alive until the request has ended.
final class DiskCall: RequestOwner {
    private let port: DiskPort
    private let continuation: CheckedContinuation<CInt, Never>
    private var itself: DiskCall?

    init(port: DiskPort, _ continuation: CheckedContinuation<CInt, Never>) {
        self.port = port
        self.continuation = continuation
    }

    /// Fills in the request and submits it, on the port's loop.
    /// - Parameter isBehindFence: whether the caller has fenced the disk.
    func begin(isBehindFence: Bool, _ fill: (inout BlockRequest) -> Void) {
        let request = UnsafeMutablePointer<BlockRequest>.allocate(capacity: 1)
        request.initialize(to: BlockRequest(owner: self, port: port))
        fill(&request.pointee)
        itself = self
        if isBehindFence { port.submitBehindFence(request) } else { port.submit(request) }
    }

    override func finished(_ request: UnsafeMutablePointer<BlockRequest>) {
        let error = request.pointee.error
        request.deallocate()
        continuation.resume(returning: error)
        itself = nil
    }
}
