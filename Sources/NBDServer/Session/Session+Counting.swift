import Block
import BlockModel
import NBD

/// Counting and timing of requests; one branch each while nothing is measured.
///
/// A request lasts until its reply is queued. It begins when it is complete, or when the one before it on the loop has
/// ended. So one look at the clock for each request, and one for each receive, are enough.
extension Session {
    /// Counts a request that has ended and was begun as the last one.
    /// - Parameter length: bytes of its range.
    @inline(__always)
    func countEnded(_ kind: RequestKind, _ length: UInt64, hasFailed: Bool) {
        countEnded(kind, length, hasFailed: hasFailed, since: requestBegan)
    }

    /// Counts a request whose slot is about to be released.
    @inline(__always)
    func countEnded(_ slot: UnsafeMutablePointer<BlockRequest>, hasFailed: Bool) {
        countEnded(slot.pointee.kind, slot.pointee.length, hasFailed: hasFailed, since: slot.pointee.startedAt)
    }

    @inline(__always)
    func countEnded(_ kind: RequestKind, _ length: UInt64, hasFailed: Bool, since began: UInt64) {
        guard let tally else { return }
        let now = WritePace.now()
        owner.lastTime = now
        tally.record(
            kind, bytes: hasFailed || kind == .status ? 0 : length, hasFailed: hasFailed, nanoseconds: now &- began)
    }

    /// Counts a request that is refused; one without a known command is none.
    func countRefused(_ request: Request) {
        guard request.command != nil else { return }
        countEnded(RequestSlots.kind(of: request), 0, hasFailed: true)
    }

    /// Marks the time at which bytes have come.
    @inline(__always)
    func noteTime() {
        guard tally != nil else { return }
        owner.lastTime = WritePace.now()
    }
}
