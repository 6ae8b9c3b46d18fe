/// Decides when the disks of one guest are switched over: all at one moment, or none.
///
/// 1. Each disk says, as often as it likes, whether it could go now. The group is *assembled* once every disk has said
/// so. Before that, a disk that could go waits, and copies nothing that the guest may write again. It is *closed* once
/// all say so at the same time: they are to go.
/// 2. The disks meet three times: before any is copied, before any holds its guest back, and before any is given away.
/// 3. A failure before the commit record fails all of them; nothing does afterwards.
/// 4. While the commit record is *in doubt*, all wait. An operator who gives them up then is heard once it is certain
/// that the record is not there.
/// 5. The same holds while a step of the commit attempt goes on.
package struct SwitchAgreement: Sendable {
    /// A point at which the disks wait for each other.
    package enum Meeting: CaseIterable, Sendable {
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
    /// It is not known whether the commit record is there: nobody acts on either.
    package private(set) var isInDoubt = false
    /// The commit record is being written or removed right now.
    package private(set) var isStepping = false
    /// The commit record is only removed from now on.
    package private(set) var isWithdrawn = false
    /// Whether the disks may have been given away, and nobody knows.
    package var isUnsettled: Bool { isInDoubt || isStepping }
    /// The first error: none of them goes, or is to go if that is in doubt. nil if nothing has gone wrong.
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

    /// Whether a disk that waits for the others has to look again: they are all to go, or it holds them up.
    package func concerns(_ disk: Int) -> Bool { isClosed || isAssembled && !ready.contains(disk) }

    /// A disk has come to a meeting.
    /// - Returns: whether it is the last one.
    package mutating func arrive(_ disk: Int, at meeting: Meeting) -> Bool {
        let isNew = present[meeting, default: []].insert(disk).inserted
        precondition(isNew && disk < count, "each disk comes once")
        return present[meeting]?.count == count
    }

    /// Whether the purpose of a meeting has been reached.
    package func isOver(_ meeting: Meeting) -> Bool {
        switch meeting {
        case .accepted, .fence: present[meeting]?.count == count
        case .commit: isCommitted
        }
    }

    /// The commit record is about to be written, or removed once the disks have been given up.
    package mutating func beginStep() {
        precondition(!isCommitted && !isStepping && present[.commit]?.count == count, "given away together")
        isStepping = true
        isWithdrawn = failure != nil
    }

    /// The commit record is there. A request to give the disks up during that step came too late.
    package mutating func commit() {
        precondition(!isWithdrawn && present[.commit]?.count == count, "given away together")
        precondition(isStepping || failure == nil, "given away after they were given up")
        isCommitted = true
        isInDoubt = false
        isStepping = false
        failure = nil
    }

    /// The commit record may be there.
    package mutating func doubt() {
        precondition(!isCommitted && present[.commit]?.count == count, "given away together")
        isInDoubt = true
        isStepping = false
    }

    /// The commit record is not there, for certain.
    package mutating func endDoubt() {
        isInDoubt = false
        isStepping = false
    }

    /// A disk can't go, or, with `isFinal`, must not, whatever went wrong before.
    /// - Returns: false if it is too late: all of them have gone, or may have gone and it is not an order.
    package mutating func fail(_ error: any Error, isFinal: Bool = false) -> Bool {
        guard !isCommitted, isFinal || !isUnsettled else { return false }
        if failure == nil || isFinal { failure = error }
        return true
    }
}
