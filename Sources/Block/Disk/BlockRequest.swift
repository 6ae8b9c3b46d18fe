import BlockModel
import Ring

/// One request to a disk on its way from a client to a device and back.
///
/// 1. The owner keeps it at a fixed address, fills it in and gives it to a `DiskPort`.
/// 2. The port hands it to the device, which ends it; `error` then says how.
/// 3. The port tells the owner. From then on the memory is the owner's again.
public struct BlockRequest {
    /// Must stand first: the ring knows a request by the address of this field.
    var operation: RingOperation
    /// What is asked for.
    public var kind = RequestKind.flush
    /// The data must be durable before the request ends.
    public var isForcedUnitAccess = false
    /// `writeZeroes` may leave a hole.
    public var mayPunchHole = true
    /// `writeZeroes` fails with `ENOTSUP` rather than take as long as a write would.
    public var mustBeFast = false
    /// Bytes from the start of the disk.
    public var offset: UInt64 = 0
    /// Bytes; for a read or write also the size of `buffer`.
    public var length: UInt64 = 0
    /// The bytes to write, room for those to read, or room for `extentLimit` extents.
    public var buffer: UnsafeMutableRawPointer?
    /// Bytes at the start of a read's buffer that `DiskPort.readIfCached` has put there; a device may read them again.
    public var readAlready = 0
    /// `status` answers with at most so many extents; at least 1.
    public var extentLimit = 0
    /// How many extents of `status` are in the buffer: they follow one another from `offset` on, cover at most `length`
    /// bytes, and at least one was found where the request succeeded.
    public internal(set) var extentCount = 0
    /// 0, or the `errno` that ended the request.
    public var error: CInt = 0
    /// For the owner.
    public var cookie: UInt64 = 0
    /// For the owner: the share of its pool that `buffer` comes from.
    public var bufferShare = 0

    /// Bytes done so far, while the device works on it.
    var progress = 0
    var stage = Stage.transfer
    /// Nanoseconds of `WritePace.now`: from then on a status is answered with what was found; set at the first look.
    var deadline = UInt64.max
    /// The file that the device works on: with or without the page cache.
    var descriptor: CInt = -1
    /// Its attempt to make the image durable is the one that runs (`FlushGate`).
    var holdsFlushGate = false
    var port: Unmanaged<DiskPort>
    let owner: Unmanaged<RequestOwner>

    /// What the device is doing for the request.
    enum Stage: UInt8 {
        case transfer
        /// Zeros by an allocation that may take as long as writing them.
        case zeroRange
        case zeroFill
        case makeDurable
    }

    /// A request of `owner`, for `port`; neither is retained.
    public init(owner: RequestOwner, port: DiskPort) {
        operation = RingOperation(handler: owner)
        self.owner = Unmanaged.passUnretained(owner)
        self.port = Unmanaged.passUnretained(port)
    }

    /// Forgets how the last use of this memory ended.
    public mutating func resetResult() {
        error = 0
        extentCount = 0
    }

    /// Adds to the answer of a `status`; a run of the same kind is joined to the one before.
    /// - Returns: whether there is room for more.
    mutating func addExtent(_ extent: BlockExtent) -> Bool {
        let extents = buffer!.assumingMemoryBound(to: BlockExtent.self)
        if extentCount > 0, extents[extentCount - 1].state == extent.state {
            extents[extentCount - 1].length += extent.length
            return true
        }
        guard extentCount < extentLimit else { return false }
        extents[extentCount] = extent
        extentCount += 1
        return true
    }
}
