import BlockModel
import Glibc
import Ring

/// Uses a disk from ordinary asynchronous code, through the same port, fence and dirty map as any client.
public struct DiskClient: Sendable {
    private let disk: Disk
    private let loop: EventLoop

    /// A client whose requests run on `loop`.
    public init(disk: Disk, loop: EventLoop) {
        self.disk = disk
        self.loop = loop
    }

    /// Performs one request and returns how it ended: 0, or an `errno`. A range outside the disk is `EINVAL`.
    /// - Parameters:
    ///   - buffer: the bytes to write or room for those to read, `length` of them; must stay valid until the return.
    ///   - forced: the data must be durable before the return (FUA).
    ///   - mayPunchHole: whether `writeZeroes` may leave a hole.
    public func perform(
        _ kind: RequestKind, offset: UInt64 = 0, length: UInt64 = 0, buffer: UnsafeMutableRawPointer? = nil,
        forced: Bool = false, mayPunchHole: Bool = true
    ) async -> CInt {
        guard offset <= disk.size, length <= disk.size - offset else { return EINVAL }
        if length == 0 && kind != .flush { return 0 }
        let memory = Buffer(address: buffer)
        return await withCheckedContinuation { continuation in
            loop.post { [disk, loop] in
                let call = DiskCall(port: disk.port(on: loop), continuation)
                call.begin {
                    $0.kind = kind
                    $0.offset = offset
                    $0.length = length
                    $0.buffer = memory.address
                    $0.isForcedUnitAccess = forced
                    $0.mayPunchHole = mayPunchHole
                }
            }
        }
    }

    /// `@unchecked Sendable`: the caller leaves the memory alone until it has its answer.
    private struct Buffer: @unchecked Sendable {
        let address: UnsafeMutableRawPointer?
    }
}
