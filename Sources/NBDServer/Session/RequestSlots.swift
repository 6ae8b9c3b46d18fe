import Block
import BlockModel
import NBD

/// The requests that one connection may have in flight, allocated once.
final class RequestSlots {
    private let slots: UnsafeMutablePointer<BlockRequest>
    private let count: Int
    private var free: [UnsafeMutablePointer<BlockRequest>] = []

    private let isSynchronous: Bool

    /// Creates slots whose completions go to `owner`.
    /// - Parameter isSynchronous: whether every change must be durable before it is acknowledged.
    init(count: Int, owner: RequestOwner, port: DiskPort, isSynchronous: Bool) {
        self.isSynchronous = isSynchronous
        self.count = count
        slots = .allocate(capacity: count)
        slots.initialize(repeating: BlockRequest(owner: owner, port: port), count: count)
        free = (0..<count).reversed().map { slots + $0 }
    }

    deinit {
        precondition(inFlight == 0, "requests end before their memory is freed")
        slots.deallocate()
    }

    var hasFree: Bool { !free.isEmpty }

    var inFlight: Int { count - free.count }

    /// Whether the request's changes must be durable before it is acknowledged.
    func mustBeDurable(_ request: Request) -> Bool { isSynchronous || request.flags.contains(.forceUnitAccess) }

    /// Fills a free slot from the client's request, without a buffer.
    func acquire(for request: Request) -> UnsafeMutablePointer<BlockRequest> {
        let slot = free.removeLast()
        slot.pointee.kind = Self.kind(of: request)
        slot.pointee.isForcedUnitAccess = mustBeDurable(request)
        slot.pointee.mayPunchHole = !request.flags.contains(.noHole)
        slot.pointee.offset = request.offset
        slot.pointee.mustBeFast = request.flags.contains(.fastZero)
        slot.pointee.length = request.length
        slot.pointee.cookie = request.cookie
        slot.pointee.extentLimit = 0
        slot.pointee.readAlready = 0
        slot.pointee.resetResult()
        return slot
    }

    func release(_ slot: UnsafeMutablePointer<BlockRequest>) {
        free.append(slot)
    }

    /// The kind of a client's request at the device; `flush` for one that has none.
    static func kind(of request: Request) -> RequestKind {
        switch request.command {
        case .read: .read
        case .write: .write
        case .trim: .trim
        case .writeZeroes: .writeZeroes
        case .cache: .cache
        case .blockStatus: .status
        case .flush, .disconnect, nil: .flush
        }
    }
}
