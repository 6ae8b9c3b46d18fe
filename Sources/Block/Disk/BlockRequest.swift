import BlockModel
import Ring

/// One request to a disk on its way from a client to a device and back.
///
/// 1. The owner keeps it at a fixed address, fills it in and submits it to a `DiskPort`.
/// 2. The port passes it to the device, which sets `error` and ends it.
/// 3. The port calls the owner's `finished`. From then on the memory is the owner's again.
public struct BlockRequest {
    /// The ring knows a request by the address of this field, so it must stand first.
    var operation: RingOperation
    /// The kind of request.
    public var kind = RequestKind.flush
    /// Whether the data must be durable before the request ends.
    public var isForcedUnitAccess = false
    /// Whether `writeZeroes` may leave a hole.
    public var mayPunchHole = true
    /// Whether `writeZeroes` must fail with `ENOTSUP` rather than take as long as a write.
    public var mustBeFast = false
    /// Bytes from the start of the disk.
    public var offset: UInt64 = 0
    /// Bytes of the range; for a read or write also the size of `buffer`.
    public var length: UInt64 = 0
    /// The bytes to write, room for the bytes to read, or room for `extentLimit` extents; nil if the kind needs none.
    public var buffer: UnsafeMutableRawPointer?
    /// Bytes at the start of a read's buffer that `DiskPort.readIfCached` has filled; a device may read them again.
    public var readAlready = 0
    /// The most extents in the answer to `status`, at least 1.
    public var extentLimit = 0
    /// The number of extents in the buffer of a `status`. They follow one another from `offset` and cover at most
    /// `length` bytes. A request that succeeded has at least one.
    public internal(set) var extentCount = 0
    /// 0, or the `errno` that ended the request.
    public var error: CInt = 0
    /// A tag of the owner's.
    public var cookie: UInt64 = 0
    /// The share of the owner's pool that `buffer` was taken from.
    public var bufferShare = 0
    /// The owner's time of the start, in nanoseconds.
    public var startedAt: UInt64 = 0

    /// Bytes done so far, while the device works on the request.
    var progress = 0
    var stage = Stage.transfer
    /// The time, in nanoseconds of `WritePace.now`, at which a status is answered with the extents found so far. The
    /// first look sets it.
    var deadline = UInt64.max
    /// The descriptor that the device uses: with or without the page cache.
    var descriptor: CInt = -1
    /// Whether the request runs the current attempt to make the image durable (`FlushGate`).
    var holdsFlushGate = false
    var port: Unmanaged<DiskPort>
    let owner: Unmanaged<RequestOwner>

    /// The step of a request at its device.
    enum Stage: UInt8 {
        case transfer
        /// Zeros by an allocation that may take as long as writing them.
        case zeroRange
        case zeroFill
        case makeDurable
    }

    /// Creates a request of `owner` for `port`; neither is retained.
    public init(owner: RequestOwner, port: DiskPort) {
        operation = RingOperation(handler: owner)
        self.owner = Unmanaged.passUnretained(owner)
        self.port = Unmanaged.passUnretained(port)
    }

    /// Clears the result of the last use of this memory.
    public mutating func resetResult() {
        error = 0
        extentCount = 0
    }

    /// Appends to the answer of a `status`, or extends the last run if it has the same state.
    /// - Returns: false if the answer is full and the extent was not added.
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

    /// Answers a `status` with one extent of data, which is right for bytes in any state.
    mutating func addAllData() {
        _ = addExtent(BlockExtent(length: length, state: []))
    }
}
