import BlockModel
import Glibc
import Ring

/// Uses a disk from asynchronous code, through the same port, fence and dirty maps as any client. Any thread may use
/// it.
public struct DiskClient: Sendable {
    private let disk: Disk
    private let loop: EventLoop

    /// Creates a client whose requests run on `loop`.
    public init(disk: Disk, loop: EventLoop) {
        self.disk = disk
        self.loop = loop
    }

    /// Performs one request.
    /// - Parameters:
    ///   - offset: bytes from the start of the disk.
    ///   - length: bytes.
    ///   - buffer: the bytes to write or room for those to read, `length` of them; valid until the return.
    ///   - forced: whether the data must be durable before the return (FUA).
    ///   - mayPunchHole: whether `writeZeroes` may leave a hole.
    ///   - mustBeFast: whether `writeZeroes` must fail with `ENOTSUP` rather than take as long as a write.
    ///   - isBehindFence: whether the caller has fenced the disk, and waits for the return before it ends the fence.
    /// - Returns: 0, or an `errno`; `EINVAL` for a range outside the disk.
    public func perform(
        _ kind: RequestKind, offset: UInt64 = 0, length: UInt64 = 0, buffer: UnsafeMutableRawPointer? = nil,
        forced: Bool = false, mayPunchHole: Bool = true, mustBeFast: Bool = false, isBehindFence: Bool = false
    ) async -> CInt {
        guard offset <= disk.size, length <= disk.size - offset else { return EINVAL }
        if length == 0 && kind != .flush { return 0 }
        let memory = Buffer(address: buffer)
        return await withCheckedContinuation { continuation in
            loop.post { [disk, loop] in
                let call = DiskCall(port: disk.port(on: loop), continuation)
                call.begin(isBehindFence: isBehindFence) {
                    $0.kind = kind
                    $0.offset = offset
                    $0.length = length
                    $0.buffer = memory.address
                    $0.isForcedUnitAccess = forced
                    $0.mayPunchHole = mayPunchHole
                    $0.mustBeFast = mustBeFast
                }
            }
        }
    }

    /// `@unchecked Sendable`: the caller does not touch the memory until it has its answer.
    private struct Buffer: @unchecked Sendable {
        let address: UnsafeMutableRawPointer?
    }
}
