import MigrationProtocol
import NIOCore

/// Decides, over all connections, when a source's requests are sent to the node that a disk has moved to. It also gives
/// the meaning of an answer.
///
/// 1. A request is taken in, sent once a connection is `isReady`, and over for its client with the answer. After a lost
/// connection, everything without an answer is sent again on the next.
/// 2. Changes are kept beyond their answer, until a flush that was sent later has been answered. If the destination's
/// machine has gone down meanwhile, they are made again before anything else is asked. If others may have written to
/// the disk since, that could undo what they wrote: then the next flush fails instead.
package struct ForwardQueue {
    /// The meaning of an answer.
    package enum Outcome: Equatable {
        /// A client's request has ended.
        case ended(id: UInt64, error: CInt)
        /// The requests that had to come first have been answered: clients' requests may be sent.
        case ready
        /// Everything that was sent has been answered and is durable: the queue may go on with another destination.
        case left
        /// The destination could not make everything durable: the queue goes on with it, on another connection.
        case stays
        /// Nobody waits for it.
        case nothing
    }

    /// Bytes of unflushed changes from which on they are flushed; at twice that changes wait.
    private let limit: Int
    /// Whether nobody else writes to the disk.
    package private(set) var mayRepeat: Bool
    private var nextID: UInt64 = 0
    /// Without an answer yet.
    private var open: Set<UInt64> = []
    /// The requests that were sent on the current connection, so that an answer to them may come.
    private var sent: [UInt64: ForwardRequest] = [:]
    private var unflushed = UnflushedChanges()
    /// The destination's boot number when it was last heard; 0 for never.
    private var boot: UInt64 = 0
    /// The destination may have lost what it had answered, and has not been told all of it again.
    private var mustRepeat = false
    /// An earlier life may have forwarded changes that no flush has covered.
    private var mustFlush: Bool
    /// The requests that must be answered before anything else is sent.
    private var first: Set<UInt64> = []
    private var ownFlush: UInt64?
    /// Clients' requests are held back until all that was sent has been answered.
    package private(set) var isLeaving = false
    /// The flush behind everything that was sent.
    private var lastFlush: UInt64?
    /// Nothing may be sent to this destination any more, until it is known whether another takes its place.
    package private(set) var hasLeft = false
    /// How often changes may have been lost that clients were told of.
    package private(set) var losses: UInt64 = 0
    /// Whether clients' requests may be sent.
    package private(set) var isReady = false

    /// - Parameters:
    ///   - isResumed: an earlier life of this node has forwarded changes.
    ///   - mayRepeat: nobody else writes to the disk.
    package init(isResumed: Bool, mayRepeat: Bool, limit: Int = 32 << 20) {
        self.limit = limit
        self.mayRepeat = mayRepeat
        mustFlush = isResumed
    }

    /// Whether a client's request may be sent now; if not, it is sent on a later connection.
    package var takesRequests: Bool { isReady && !isLeaving }

    /// Whether every request has been answered.
    package var isEmpty: Bool { open.isEmpty }

    /// Requests without an answer, in the order in which they came.
    package var unanswered: [UInt64] { open.sorted() }

    /// Whether changes must wait for a flush.
    package var isFull: Bool { ownFlush != nil && unflushed.bytes >= 2 * limit }

    /// A client asks for something.
    package mutating func begin() -> UInt64 {
        defer { nextID += 1 }
        open.insert(nextID)
        return nextID
    }

    /// A connection is there.
    /// - Parameters:
    ///   - boot: identifies the life of the destination's machine; 0 if it can't tell.
    ///   - isCommitted: the disk is the destination's.
    /// - Returns: the requests to send at once. If there are none, the queue is ready.
    package mutating func connected(boot: UInt64, isCommitted: Bool) -> [ForwardRequest] {
        precondition(!isReady && first.isEmpty && !hasLeft)
        if isCommitted, self.boot != 0, self.boot != boot { lost() }
        self.boot = boot
        var requests: [ForwardRequest] = []
        if isCommitted {
            if mustFlush { requests = [flush()] }
            if mustRepeat { for change in unflushed.again() { requests.append(numbered(change)) } }
        }
        first = Set(requests.map(\.id))
        isReady = first.isEmpty
        if isReady { mustRepeat = false }
        return requests
    }

    /// The destination's machine has gone down since it was last heard.
    private mutating func lost() {
        if mayRepeat { return mustRepeat = true }
        if unflushed.bytes > 0 { losses += 1 }
        unflushed = UnflushedChanges()
    }

    /// Handles a failed flush: the destination could not make durable the changes that were answered before it left.
    /// Clients are told, and these changes are not kept. Changes after that flush are kept.
    private mutating func flushFailed(_ id: UInt64) {
        losses += 1
        unflushed.flushed(id)
    }

    /// The connection is gone.
    package mutating func disconnected() {
        isReady = false
        first = []
        sent = [:]
        ownFlush = nil
        lastFlush = nil
        isLeaving = hasLeft
        unflushed.linkLost()
    }

    /// The flush that is to be sent before the next change, so that few changes are kept; nil if none is due.
    package mutating func flushIfDue() -> ForwardRequest? {
        guard ownFlush == nil, !isLeaving, unflushed.bytes >= limit else { return nil }
        let flush = flush()
        ownFlush = flush.id
        unflushed.flushLeaves(flush.id)
        return flush
    }

    /// A client's request leaves on the current connection.
    package mutating func leaves(_ request: ForwardRequest) {
        precondition(takesRequests && open.contains(request.id))
        sent[request.id] = request
        if request.kind == .flush { unflushed.flushLeaves(request.id) }
    }

    /// An answer has come.
    package mutating func answered(_ id: UInt64, error: CInt) -> Outcome {
        if first.remove(id) != nil {
            if error != 0 { losses += 1 }
            guard first.isEmpty else { return .nothing }
            mustRepeat = false
            mustFlush = false
            isReady = true
            return .ready
        }
        if id == lastFlush { return lastAnswered(error) }
        if id == ownFlush {
            ownFlush = nil
            if error == 0 { unflushed.flushed(id) } else { flushFailed(id) }
            return .nothing
        }
        guard let request = sent.removeValue(forKey: id) else { return .nothing }
        open.remove(id)
        if request.kind == .flush {
            if error == 0 { unflushed.flushed(id) } else { flushFailed(id) }
        }
        if error == 0, request.kind.isChange { unflushed.note(request) }
        return .ended(id: id, error: error)
    }

    // MARK: Another destination

    /// Holds clients' requests back, so that the destination comes to have answered everything.
    /// - Returns: false where it has not been asked for anything yet on this connection; nothing changes then.
    package mutating func leave() -> Bool {
        guard takesRequests else { return false }
        isLeaving = true
        return true
    }

    /// The last flush, due once all other requests have been answered; nil if it is not due, or has been sent.
    /// Requests pass each node in the order of their connections, so its answer covers earlier connections too. No node
    /// in between then keeps changes that it might make again.
    package mutating func lastFlushIfDue() -> ForwardRequest? {
        guard isLeaving, !hasLeft, lastFlush == nil, sent.isEmpty, ownFlush == nil else { return nil }
        let flush = flush()
        lastFlush = flush.id
        return flush
    }

    private mutating func lastAnswered(_ error: CInt) -> Outcome {
        lastFlush = nil
        // The flush was behind everything.
        unflushed = UnflushedChanges()
        hasLeft = error == 0
        guard !hasLeft else { return .left }
        losses += 1
        stay()
        return .stays
    }

    /// The queue goes on with the destination that it has, on the next connection.
    package mutating func stay() {
        (isLeaving, hasLeft, isReady) = (false, false, false)
    }

    /// The queue goes on with another destination, on the next connection.
    /// - Parameter mayRepeat: nobody is known to write to the disk but through the destination that was left.
    package mutating func move(mayRepeat: Bool) {
        precondition(hasLeft)
        stay()
        self.mayRepeat = self.mayRepeat && mayRepeat
        boot = 0
        mustRepeat = false
    }

    private mutating func flush() -> ForwardRequest {
        numbered(
            ForwardRequest(
                id: 0, kind: .flush, isForced: false, mayPunchHole: true, offset: 0, length: 0, payload: ByteBuffer()))
    }

    private mutating func numbered(_ request: ForwardRequest) -> ForwardRequest {
        var request = request
        request.id = nextID
        nextID += 1
        return request
    }
}
