import Glibc
import Ring

/// A device of a disk that is no longer available: every request ends with `ESHUTDOWN`.
public final class ClosedDevice: BlockDevice, @unchecked Sendable {
    /// Creates a device without a disk.
    public override init() { super.init() }

    override func start(_ request: UnsafeMutablePointer<BlockRequest>, on port: DiskPort) {
        PendingRequest(request: request, port: port).finish(error: ESHUTDOWN)
    }
}
