import Glibc
import Ring

/// A disk that can't be had any more: every request ends with `ESHUTDOWN`.
public final class ClosedDevice: BlockDevice, @unchecked Sendable {
    /// A device that holds nothing.
    public override init() { super.init() }

    override func start(_ request: UnsafeMutablePointer<BlockRequest>, on port: DiskPort) {
        PendingRequest(request: request, port: port).finish(error: ESHUTDOWN)
    }
}
