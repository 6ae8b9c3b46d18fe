import MigrationProtocol

/// An operator's wish to give up a disk that comes here, as far as it has got; see `ArrivalMachine.advance`.
package struct ArrivalCancel: Equatable, Sendable {
    /// The reason that the source is given.
    package static let reason = "cancelled at the destination by its operator"
    /// The time that a source has to hear of it before its connection is closed.
    package static let hearing = Duration.seconds(1)
    /// The time that a source that may have given its disk away has to say whether it has.
    package static let deciding = Duration.seconds(3)
    /// The attempts to give up a disk that its source brings again.
    static let attempts = 3

    /// How it has ended.
    package enum Outcome: Equatable, Sendable {
        case cancelled
        /// There is no such disk.
        case unknown
        /// It is this node's already.
        case handedOver
        /// The source brings it again each time.
        case broughtAgain
        /// It is prepared, so that its source may have given it away, and has not said.
        case undecided
    }

    package enum Step: Equatable, Sendable {
        /// Tell the source why; wait until the disk is idle. After `hearing`, close the connection and go on waiting.
        case dismiss(MigrationID, ArrivalConnection)
        /// Tell the source; wait until the disk is not prepared any more, but at most for `deciding`.
        case ask(MigrationID, ArrivalConnection)
        /// Wait until the disk is idle.
        case wait(MigrationID)
        /// Answer clients of the disk no more.
        case withdraw(String)
        /// Perform the removal, without the source's word. It can't be given up if that fails.
        case remove(ArrivalRemoval)
        case end(Outcome)
    }

    enum Progress: Equatable, Sendable {
        case begun
        case dismissed(MigrationID)
        case asked(MigrationID)
        case done
    }

    let export: String
    let isSourceGone: Bool
    var attemptsLeft = Self.attempts
    var progress = Progress.begun

    /// - Parameter isSourceGone: the operator knows that the source will not come back, so that nothing will tell any more
    ///   whose the disk is.
    package init(_ export: String, isSourceGone: Bool) {
        self.export = export
        self.isSourceGone = isSourceGone
    }
}
