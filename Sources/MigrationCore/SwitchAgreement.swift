/// When the disks of one guest are handed over: all at one moment, or none. Does nothing itself.
///
/// 1. Each disk says, as often as it likes, whether it could go now. Once every disk has said so once, they are
/// *assembled*: until then whoever could go waits, and copies nothing that the guest may write again meanwhile. Once all
/// say so at the same time it is *closed*: they are to go. 2. They come together three times: before any of them is copied,
/// before any of them holds its guest back, and before any of them is given away. 3. Whatever fails
/// before that fails all; nothing does afterwards. 4. While the durable word is *in doubt* all wait; whoever gives them up then is
/// heard once it is certain that it has not been given. 5. So is whoever gives them up while a step of the word is being done.
package struct SwitchAgreement: Sendable {
    /// Where the disks come together.
    package enum Meeting: Hashable, Sendable {
        /// The destination has taken the offers of all of them.
        case accepted
        /// No guest waits yet.
        case fence
        /// The destination has everything, or all but what both sides say it lacks.
        case commit
    }

    private let count: Int
    private var ready: Set<Int> = []
    private var haveBeenReady: Set<Int> = []
    private var present: [Meeting: Set<Int>] = [:]
    /// Every disk could go at the same time.
    package private(set) var isClosed = false
    /// All of them are the destination's.
    package private(set) var isCommitted = false
    /// Whether the word has been given is not known: they go, or none does, and nobody acts on either.
    package private(set) var isInDoubt = false
    /// The durable word is being written or removed right now.
    package private(set) var isStepping = false
    /// The word is only removed from now on.
    package private(set) var isWithdrawn = false
    /// Whether the disks may have been given away, and nobody knows.
    package var isUnsettled: Bool { isInDoubt || isStepping }
    /// What went wrong first; none of them goes, or is to go where that is in doubt.
    package private(set) var failure: (any Error)?

    /// - Parameter count: of disks, at least 1.
    package init(count: Int) {
        precondition(count >= 1)
        self.count = count
    }

    /// Whether every disk has been ready once.
    package var isAssembled: Bool { haveBeenReady.count == count }

    /// A disk could go now, or could not any more.
    package mutating func note(_ disk: Int, isReady: Bool) {
        precondition(disk < count)
        guard isReady else {
            ready.remove(disk)
            return
        }
        ready.insert(disk)
        haveBeenReady.insert(disk)
        if ready.count == count { isClosed = true }
    }

    /// A disk has come to a meeting.
    /// - Returns: whether it is the last one.
    package mutating func arrive(_ disk: Int, at meeting: Meeting) -> Bool {
        let isNew = present[meeting, default: []].insert(disk).inserted
        precondition(isNew && disk < count, "each disk comes once")
        return present[meeting]?.count == count
    }

    /// Whether what a meeting is for has come about.
    package func isOver(_ meeting: Meeting) -> Bool {
        switch meeting {
        case .accepted, .fence: present[meeting]?.count == count
        case .commit: isCommitted
        }
    }

    /// The durable word is about to be written, or removed once the disks have been given up.
    package mutating func beginStep() {
        precondition(!isCommitted && !isStepping && present[.commit]?.count == count, "given away together")
        isStepping = true
        isWithdrawn = failure != nil
    }

    /// The durable word has been given. Who has given them up while that was being done comes too late.
    package mutating func commit() {
        precondition(!isWithdrawn && present[.commit]?.count == count, "given away together")
        precondition(isStepping || failure == nil, "given away after they were given up")
        isCommitted = true
        isInDoubt = false
        isStepping = false
        failure = nil
    }

    /// The durable word may have been given.
    package mutating func doubt() {
        precondition(!isCommitted && present[.commit]?.count == count, "given away together")
        isInDoubt = true
        isStepping = false
    }

    /// The durable word has not been given, for certain.
    package mutating func endDoubt() {
        isInDoubt = false
        isStepping = false
    }

    /// A disk can't go, or, with `isFinal`, is not to, whatever went wrong before.
    /// - Returns: false where it is too late: all of them have gone, or may have gone and it is nobody's order.
    package mutating func fail(_ error: any Error, isFinal: Bool = false) -> Bool {
        guard !isCommitted, isFinal || !isUnsettled else { return false }
        if failure == nil || isFinal { failure = error }
        return true
    }
}
