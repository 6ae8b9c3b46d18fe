import BlockModel
import Glibc

/// Decides what may touch which block of a disk that is still arriving, and when; does nothing itself.
///
/// A request of the guest:
/// 1. waits until the blocks that it needs are present: all that it reads, or those of which it writes only a part;
///    they are demanded from the source. Blocks that it writes whole it does not need.
/// 2. waits for fills of blocks that it writes whole, so that no fill lands on top of it (invariant 3).
/// 3. is performed on the image; the blocks that it wrote whole are then present.
/// 4. where it is a flush or forced, waits until the data and then the map are durable (invariant 2). 5. is finished.
///
/// A fill of blocks whose bytes have arrived is let through for those blocks that are still missing and that no request
/// is writing. Requests for blocks that are all present need not come here, unless they ask for durability.
public struct BlockResolver: Sendable {
    /// A request of the guest.
    public struct Operation: Equatable, Sendable {
        /// For the caller; never used twice.
        public let id: UInt64
        /// `read`, `write`, `writeZeroes`, `trim` or `flush`.
        public let kind: RequestKind
        /// What is asked for; a trim may be narrowed to whole blocks.
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

    /// What is to be done now.
    public enum Action: Equatable, Sendable {
        /// Do it on the image, then say `performed`.
        case perform(Operation)
        /// Give a read the bytes of blocks that have come and could not be put into the image; it then asks for the rest.
        case deliver(id: UInt64, [Range<UInt64>])
        /// Tell the guest.
        case finish(id: UInt64, error: CInt)
        /// Ask the source for missing blocks, ahead of everything else; then for some that are likely to be next.
        case demand([Range<UInt64>], ahead: [Range<UInt64>])
        /// Take the map's changes, make the image durable, write the changes durably, then say `madeDurable`.
        case makeDurable
    }

    /// Bytes that have arrived and may be written.
    public struct Fill: Equatable, Sendable {
        /// For `filled`.
        public let id: UInt64
        /// Blocks that may be written now; the others are not needed any more.
        public let accepted: [Range<UInt64>]

        package init(id: UInt64, accepted: [Range<UInt64>]) {
            self.id = id
            self.accepted = accepted
        }
    }

    private enum Stage {
        case waiting
        case performing
        case settling
    }

    private struct Open {
        package var operation: Operation
        /// What must be present first; the part that is known to be is cut off.
        package var needs: [Range<UInt64>]
        /// Blocks that it writes whole.
        package let whole: Range<UInt64>
        package var stage = Stage.waiting
    }

    /// Bytes that one request may have demanded at once.
    private static let demandBytes: UInt64 = 512 << 10
    /// Bytes asked for beyond what a read needs: the next one is often for them.
    private static let readAheadBytes: UInt64 = 64 << 10

    private let map: DurablePresentMap
    private var open: [UInt64: Open] = [:]
    private var waiting: [UInt64] = []
    private var writing: [UInt64: Range<UInt64>] = [:]
    private var fills: [UInt64: [Range<UInt64>]] = [:]
    private var demanded: Set<UInt64> = []
    private var nextFill: UInt64 = 0
    private var isMakingDurable = false
    private var wantsCheckpoint = false
    private var settling: [UInt64] = []
    private var nextSettling: [UInt64] = []

    /// A disk of which `map` says what has arrived.
    public init(map: DurablePresentMap) {
        self.map = map
    }

    private var geometry: BlockGeometry { map.geometry }

    /// Requests that have begun and not finished.
    public var openCount: Int { open.count }

    /// Blocks that were demanded and have not come; bounded by the requests that wait for them.
    public var demandedCount: Int { demanded.count }

    /// Whether nothing is under way: no request, no fill, nothing being made durable.
    public var isQuiet: Bool { open.isEmpty && fills.isEmpty && !isMakingDurable }

    // MARK: The guest

    /// A request comes in.
    public mutating func begin(_ operation: Operation) -> [Action] {
        precondition(open[operation.id] == nil)
        if operation.kind == .flush {
            open[operation.id] = Open(operation: operation, needs: [], whole: 0..<0, stage: .settling)
            return settle(operation.id)
        }
        var operation = operation
        let touched = geometry.blocks(touching: operation.bytes)
        var whole = wholeBlocks(of: operation.bytes)
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
            operation.bytes = geometry.bytes(of: whole)
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

    /// A request has been done on the image, or failed with an `errno`.
    public mutating func performed(_ id: UInt64, error: CInt) -> [Action] {
        guard let request = open[id], request.stage == .performing else { preconditionFailure("nobody performs \(id)") }
        writing[id] = nil
        var actions: [Action] = []
        if error == 0, request.operation.kind.isChange {
            precondition(!fills.values.joined().contains { $0.overlaps(request.whole) }, "a fill under a write")
            map.markReplaced(request.whole)
        }
        if error == 0, request.operation.kind.isChange, request.operation.isForced {
            open[id]!.stage = .settling
            actions += settle(id)
        } else {
            finish(id, error, &actions)
        }
        advanceAll(&actions)
        return actions
    }

    // MARK: The source

    /// The bytes of blocks have arrived; says which of them to write.
    public mutating func arrived(_ blocks: [Range<UInt64>]) -> Fill {
        var accepted: [Range<UInt64>] = []
        for range in blocks {
            forgetDemand(range)
            for run in map.missingRuns(in: range) { accepted += free(run) }
        }
        defer { nextFill += 1 }
        fills[nextFill] = accepted
        return Fill(id: nextFill, accepted: accepted)
    }

    /// The accepted blocks of a fill are in the image and their fingerprints are noted; or that failed.
    /// - Parameter isAtHand: their bytes are known all the same, so that a disk without room can still be read.
    public mutating func filled(_ id: UInt64, error: CInt, isAtHand: Bool = false) -> [Action] {
        guard let blocks = fills.removeValue(forKey: id) else { preconditionFailure("nobody fills \(id)") }
        var actions: [Action] = []
        if error == 0 {
            for range in blocks { map.markTaken(range) }
        } else {
            if isAtHand { deliver(blocks, &actions) }
            fail(blocks, error, &actions)
        }
        advanceAll(&actions)
        return actions
    }

    /// The source can't read blocks: who waits for them is told so.
    public mutating func unavailable(_ blocks: Range<UInt64>, error: CInt) -> [Action] {
        forgetDemand(blocks)
        var actions: [Action] = []
        fail([blocks], error, &actions)
        advanceAll(&actions)
        return actions
    }

    /// What was demanded will not come: the link is down. Requests wait.
    public mutating func linkLost() { demanded.removeAll() }

    /// Demands anew what is waited for, and what was while there was no link.
    public mutating func linkFound() -> [Action] {
        demanded.removeAll()
        var actions: [Action] = []
        advanceAll(&actions)
        return actions
    }

    /// Ends every request that waits for blocks: they will not come in this life of the node.
    public mutating func giveUp(error: CInt) -> [Action] {
        var actions: [Action] = []
        for id in waiting { finish(id, error, &actions) }
        return actions
    }

    // MARK: Durability

    /// Makes what has arrived durable some time soon, though nobody waits for it.
    public mutating func checkpoint() -> [Action] {
        wantsCheckpoint = true
        return beginDurability()
    }

    /// The data, and then the map as it was before, are durable; or that failed with an `errno`.
    public mutating func madeDurable(error: CInt) -> [Action] {
        precondition(isMakingDurable)
        isMakingDurable = false
        var actions: [Action] = []
        for id in settling { finish(id, error, &actions) }
        settling = []
        actions += beginDurability()
        return actions
    }

    private mutating func settle(_ id: UInt64) -> [Action] {
        nextSettling.append(id)
        return beginDurability()
    }

    private mutating func beginDurability() -> [Action] {
        guard !isMakingDurable, wantsCheckpoint || !nextSettling.isEmpty else { return [] }
        isMakingDurable = true
        wantsCheckpoint = false
        settling = nextSettling
        nextSettling = []
        return [.makeDurable]
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

    private mutating func finish(_ id: UInt64, _ error: CInt, _ actions: inout [Action]) {
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
            open[id]!.needs = needs.flatMap { Self.without(parts, $0) }
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
            // A disk that is full says so to who writes; to who reads it is an error like any other.
            finish(id, request.operation.kind == .read ? EIO : error, &actions)
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

    // MARK: Demand

    private mutating func demand(_ request: Open, _ actions: inout [Action]) {
        var runs: [Range<UInt64>] = []
        let blockSize = UInt64(geometry.blockSize)
        var room = max(Self.demandBytes / blockSize, 1)
        for need in request.needs where room > 0 {
            collect(need.lowerBound..<min(need.upperBound, need.lowerBound + room), &room, &runs)
        }
        guard !runs.isEmpty else { return }
        for run in runs { demanded.formUnion(run) }
        var ahead: [Range<UInt64>] = []
        if request.operation.kind == .read, let last = request.needs.last?.upperBound {
            var room = max(Self.readAheadBytes / blockSize, 1)
            collect(last..<min(geometry.blockCount, last + room), &room, &ahead)
            for run in ahead { demanded.formUnion(run) }
        }
        actions.append(.demand(runs, ahead: ahead))
    }

    /// Adds the missing blocks of a range that nobody brings yet.
    private func collect(_ range: Range<UInt64>, _ room: inout UInt64, _ runs: inout [Range<UInt64>]) {
        var position = range.lowerBound
        while room > 0, position < range.upperBound, let run = map.nextMissing(in: position..<range.upperBound) {
            for part in free(run) {
                for block in part where room > 0 && !demanded.contains(block) {
                    room -= 1
                    if let last = runs.last, last.upperBound == block {
                        runs[runs.count - 1] = last.lowerBound..<block + 1
                    } else {
                        runs.append(block..<block + 1)
                    }
                }
            }
            position = run.upperBound
        }
    }

    private mutating func forgetDemand(_ blocks: Range<UInt64>) {
        if UInt64(blocks.count) > UInt64(demanded.count) {
            demanded = demanded.filter { !blocks.contains($0) }
        } else {
            for block in blocks { demanded.remove(block) }
        }
    }

    // MARK: Claims

    /// The parts of a range that neither a request is writing nor a fill.
    private func free(_ range: Range<UInt64>) -> [Range<UInt64>] {
        Self.without(Array(writing.values) + Array(fills.values.joined()), range)
    }

    private static func without(_ claims: [Range<UInt64>], _ range: Range<UInt64>) -> [Range<UInt64>] {
        var parts = [range]
        for claim in claims where claim.overlaps(range) {
            parts = parts.flatMap { part -> [Range<UInt64>] in
                guard part.overlaps(claim) else { return [part] }
                return [
                    part.lowerBound..<max(part.lowerBound, claim.lowerBound),
                    min(part.upperBound, claim.upperBound)..<part.upperBound,
                ].filter { !$0.isEmpty }
            }
        }
        return parts
    }

    private func wholeBlocks(of bytes: Range<UInt64>) -> Range<UInt64> {
        let blockSize = UInt64(geometry.blockSize)
        let first = (bytes.lowerBound + blockSize - 1) / blockSize
        let end = bytes.upperBound == geometry.size ? geometry.blockCount : bytes.upperBound / blockSize
        return first < end ? first..<end : 0..<0
    }
}
