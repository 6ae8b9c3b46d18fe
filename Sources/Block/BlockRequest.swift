import Ring

/// One request to a disk on its way from a client to a device and back.
///
/// 1. The owner keeps it at a fixed address, fills it in and gives it to a `DiskPort`.
/// 2. The port hands it to the device, which ends it; `error` then says how.
/// 3. The port tells the owner. From then on the memory is the owner's again.
public struct BlockRequest {
    /// What is asked for.
    public enum Kind: UInt8, Sendable {
        case read
        case write
        case flush
        case trim
        case writeZeroes
    }

    /// Must stand first: the ring knows a request by the address of this field.
    var operation: RingOperation
    /// What is asked for.
    public var kind = Kind.flush
    /// The data must be durable before the request ends.
    public var isForcedUnitAccess = false
    /// `writeZeroes` may leave a hole.
    public var mayPunchHole = true
    /// Bytes from the start of the disk.
    public var offset: UInt64 = 0
    /// Bytes; for a read or write also the size of `buffer`.
    public var length: UInt64 = 0
    /// The bytes to write, or room for those to read.
    public var buffer: UnsafeMutableRawPointer?
    /// 0, or the `errno` that ended the request.
    public internal(set) var error: CInt = 0
    /// For the owner.
    public var cookie: UInt64 = 0

    /// Bytes done so far, while the device works on it.
    var progress = 0
    var stage = Stage.transfer
    var port: Unmanaged<DiskPort>
    let owner: Unmanaged<RequestOwner>

    /// What the device is doing for the request.
    enum Stage: UInt8 {
        case transfer
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
    }

    /// Whether the request may change bytes of the disk.
    var isChange: Bool { kind == .write || kind == .trim || kind == .writeZeroes }
}
