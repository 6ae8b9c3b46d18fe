import BlockModel

/// Decides which request or fill may touch which block of a disk that is still arriving, and when.
///
/// A request of a client:
/// 1. waits until the blocks that it needs are present: all that it reads, or those of which it writes only a part. They are
///    demanded from the source. It does not need blocks that it writes whole.
/// 2. waits for fills of blocks that it writes whole, so that no fill lands on top of it (invariant 3).
/// 3. is performed on the image; the blocks that it wrote whole are then present.
/// 4. if it is a flush or forced, waits until the data and then the map are durable (invariant 2). 5. is finished.
///
/// A fill of blocks whose bytes have arrived is let through for those blocks that are still missing and that no request
/// is writing. Requests for blocks that are all present need not come here, unless they ask for durability.
public struct PostCopyScheduler: Sendable {
    /// A request of a client.
    public struct Operation: Equatable, Sendable {
        /// Chosen by the caller; never used twice.
        public let id: UInt64
        /// `read`, `write`, `writeZeroes`, `trim` or `flush`.
        public let kind: RequestKind
        /// Bytes from the start of the disk; a trim may be narrowed to whole blocks.
        public var bytes: Range<UInt64>
        /// The data must be durable at the end.
        public let isForced: Bool
        /// Blocks that a read has been given already, and that are not in the image.
        public var delivered: [Range<UInt64>] = []

        /// Describes a request.
        public init(id: UInt64, kind: RequestKind, bytes: Range<UInt64>, isForced: Bool) {
            self.id = id
            self.kind = kind
            self.bytes = bytes
            self.isForced = isForced
        }
    }

    /// Work for the driver.
    public enum Action: Equatable, Sendable {
        /// Perform the request on the image, then call `performed`.
        case perform(Operation)
        /// Give a read the bytes of blocks that have come and could not be put into the image; it then asks for the rest.
        case deliver(id: UInt64, [Range<UInt64>])
        /// Answer the client.
        case finish(id: UInt64, error: CInt)
        /// Bring missing blocks, ahead of everything else; then some that are likely to be next.
        case demand([Range<UInt64>], ahead: [Range<UInt64>])
        /// Make what is in the image durable, and then the map as it was before (`SaveSequence`); then call `madeDurable`.
        case makeDurable
    }

    /// Bytes that have arrived and may be written.
    public struct Fill: Equatable, Sendable {
        /// Passed back with `filled`.
        public let id: UInt64
        /// Blocks that may be written now; the others are not needed any more.
        public let accepted: [Range<UInt64>]

        package init(id: UInt64, accepted: [Range<UInt64>]) {
            self.id = id
            self.accepted = accepted
        }
    }

    enum Stage {
        case waiting
        case performing
        case makingDurable
    }

    struct Open {
        var operation: Operation
        /// Blocks that must be present first; the part that is known to be present is cut off.
        var needs: [Range<UInt64>]
        /// Blocks that it writes whole.
        let whole: Range<UInt64>
        var stage = Stage.waiting
        /// Blocks that the source could not read, or that could not be stored, while the request waited for others. They are
        /// demanded again on a retry, or once it waits for them first, which tells its client at once whether it can have them.
        var unobtainable: Set<UInt64> = []
    }

    let map: DurablePresentMap
    var open: [UInt64: Open] = [:]
    var waiting: [UInt64] = []
    var writing: [UInt64: Range<UInt64>] = [:]
    var fills: [UInt64: [Range<UInt64>]] = [:]
    var demanded: Set<UInt64> = []
    private var nextFill: UInt64 = 0
    var isMakingDurable = false
    var wantsCheckpoint = false
    /// Requests that end with the save under way.
    var awaitingSave: [UInt64] = []
    /// Requests that end with the save after that.
    var awaitingNextSave: [UInt64] = []

    /// A disk of which `map` says which blocks have arrived.
    public init(map: DurablePresentMap) {
        self.map = map
    }

    var geometry: BlockGeometry { map.geometry }

    /// Requests that have begun and not finished.
    public var openCount: Int { open.count }

    /// Blocks that were demanded and have not come; bounded by the requests that wait for them.
    public var demandedCount: Int { demanded.count }

    /// Whether no request, no fill and no save is under way.
    public var isQuiet: Bool { open.isEmpty && fills.isEmpty && !isMakingDurable }

    // MARK: Clients

    /// A request comes in.
    public mutating func begin(_ operation: Operation) -> [Action] {
        precondition(open[operation.id] == nil)
        if operation.kind == .flush {
            open[operation.id] = Open(operation: operation, needs: [], whole: 0..<0, stage: .makingDurable)
            return awaitDurability(of: operation.id)
        }
        var operation = operation
        let touched = geometry.blocks(touchingDisk: operation.bytes)
        var whole = geometry.blocks(withinDisk: operation.bytes)
        var needs: [Range<UInt64>] = []
        switch operation.kind {
        case .read:
            needs = [touched]
            whole = 0..<0
        case .write, .writeZeroes:
            if whole.isEmpty {
                needs = [touched]
            } else {
                needs = [touched.lowerBound..<whole.lowerBound, whole.upperBound..<touched.upperBound]
            }
        case .trim:
            // A trim is advice: parts of blocks that are not here are not fetched for it.
            operation.bytes = geometry.diskBytes(of: whole)
            guard !whole.isEmpty else { return [.finish(id: operation.id, error: 0)] }
        case .flush, .cache, .status:
            preconditionFailure("not a request for blocks")
        }
        open[operation.id] = Open(operation: operation, needs: needs.filter { !$0.isEmpty }, whole: whole)
        waiting.append(operation.id)
        var actions: [Action] = []
        advance(operation.id, &actions)
        return actions
    }

    /// A request has been performed on the image.
    /// - Parameter error: an `errno`; 0 for success.
    public mutating func performed(_ id: UInt64, error: CInt) -> [Action] {
        guard let request = open[id], request.stage == .performing else {
            preconditionFailure("request \(id) is not being performed")
        }
        writing[id] = nil
        var actions: [Action] = []
        if error == 0, request.operation.kind.isChange {
            precondition(!fills.values.joined().contains { $0.overlaps(request.whole) }, "a fill under a write")
            map.markReplaced(request.whole)
        }
        if error == 0, request.operation.kind.isChange, request.operation.isForced {
            open[id]!.stage = .makingDurable
            actions += awaitDurability(of: id)
        } else {
            finish(id, error, &actions)
        }
        advanceAll(&actions)
        return actions
    }

    // MARK: The source

    /// The bytes of blocks have arrived.
    /// - Returns: which of them to write.
    public mutating func arrived(_ blocks: [Range<UInt64>]) -> Fill {
        var accepted: [Range<UInt64>] = []
        for range in blocks {
            forgetDemand(range)
            accepted += freeMissing(in: range)
        }
        defer { nextFill += 1 }
        fills[nextFill] = accepted
        return Fill(id: nextFill, accepted: accepted)
    }

    /// The accepted blocks of a fill are in the image and the manifest, or that failed.
    /// - Parameters:
    ///   - error: an `errno`; 0 for success.
    ///   - isAtHand: their bytes are in memory, so that a disk without room can still be read.
    public mutating func filled(_ id: UInt64, error: CInt, isAtHand: Bool = false) -> [Action] {
        guard let blocks = fills.removeValue(forKey: id) else { preconditionFailure("fill \(id) is not under way") }
        var actions: [Action] = []
        if error == 0 {
            for range in blocks { map.markTaken(range) }
        } else {
            if isAtHand { deliver(blocks, &actions) }
            fail(blocks, error, &actions)
            for id in waiting { open[id]!.holdBack(blocks) }
        }
        advanceAll(&actions)
        return actions
    }

    /// The source can't read blocks: requests that wait for them end.
    /// - Parameter error: an `errno`.
    public mutating func unavailable(_ blocks: Range<UInt64>, error: CInt) -> [Action] {
        let refused = takeDemand(blocks)
        var actions: [Action] = []
        fail([blocks], error, &actions)
        for id in waiting { open[id]!.holdBack(refused.map { $0..<$0 + 1 }) }
        advanceAll(&actions)
        return actions
    }

    /// The pause after a failure is over: blocks that could not be read or stored are demanded anew.
    public mutating func retry() -> [Action] {
        guard waiting.contains(where: { open[$0]?.unobtainable.isEmpty == false }) else { return [] }
        for id in waiting { open[id]!.unobtainable = [] }
        var actions: [Action] = []
        advanceAll(&actions)
        return actions
    }

    /// The link is down: demanded blocks will not come, and requests wait.
    public mutating func linkLost() { demanded.removeAll() }

    /// The link is up: blocks for which requests wait are demanded anew.
    public mutating func linkFound() -> [Action] {
        demanded.removeAll()
        for id in waiting { open[id]!.unobtainable = [] }
        var actions: [Action] = []
        advanceAll(&actions)
        return actions
    }

    /// Ends every request that waits for blocks: they will not come in this life of the node.
    /// - Parameter error: an `errno`.
    public mutating func giveUp(error: CInt) -> [Action] {
        var actions: [Action] = []
        for id in waiting { finish(id, error, &actions) }
        return actions
    }

    // MARK: Steps

    private mutating func advanceAll(_ actions: inout [Action]) {
        for id in waiting { advance(id, &actions) }
    }

    private mutating func advance(_ id: UInt64, _ actions: inout [Action]) {
        guard var request = open[id], request.stage == .waiting else { return }
        cutPresent(&request.needs)
        open[id] = request
        guard request.needs.isEmpty else { return demand(request, &actions) }
        guard !fills.values.joined().contains(where: { $0.overlaps(request.whole) }) else { return }
        open[id]!.stage = .performing
        if request.operation.kind.isChange { writing[id] = request.whole }
        waiting.removeAll { $0 == id }
        actions.append(.perform(request.operation))
    }

    mutating func finish(_ id: UInt64, _ error: CInt, _ actions: inout [Action]) {
        open[id] = nil
        waiting.removeAll { $0 == id }
        actions.append(.finish(id: id, error: error))
    }

    /// Passes blocks by the image to the reads that wait for them.
    private mutating func deliver(_ blocks: [Range<UInt64>], _ actions: inout [Action]) {
        for id in waiting where open[id]?.operation.kind == .read {
            let needs = open[id]!.needs
            let parts = blocks.flatMap { run in needs.map { $0.clamped(to: run) }.filter { !$0.isEmpty } }
            guard !parts.isEmpty else { continue }
            open[id]!.operation.delivered += parts
            open[id]!.needs = Self.without(parts, needs)
            actions.append(.deliver(id: id, parts))
        }
    }

    /// Ends the requests that wait for one of these blocks first of all.
    private mutating func fail(_ blocks: [Range<UInt64>], _ error: CInt, _ actions: inout [Action]) {
        for id in waiting {
            guard var request = open[id] else { continue }
            cutPresent(&request.needs)
            guard let first = request.needs.first?.lowerBound, blocks.contains(where: { $0.contains(first) }) else {
                continue
            }
            // A full disk is named to writers; to readers it is an error like any other.
            finish(id, request.operation.kind == .read ? WorkFailure.inputOutput : error, &actions)
        }
    }

    private func cutPresent(_ needs: inout [Range<UInt64>]) {
        while let first = needs.first {
            if let missing = map.nextMissing(in: first) {
                needs[0] = missing.lowerBound..<first.upperBound
                return
            }
            needs.removeFirst()
        }
    }
}
