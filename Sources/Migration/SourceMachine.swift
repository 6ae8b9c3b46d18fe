/// The source's side of a migration as states and the steps between them; does nothing itself.
///
/// 1. `offered`: the destination has been asked.
/// 2. `copying`: rounds go over; the guest writes.
/// 3. `fenced`: the guest waits; the last round goes over and the roots are compared.
/// 4. `committed`: the durable word is given: from here on the disk is the destination's, whatever happens.
/// 5. `moved`: the destination has said that it serves the disk.
///
/// Up to `fenced` everything can be undone, and `abandon` says how. After `committed` nothing can (invariants 5, 6).
struct SourceMachine: Equatable {
    enum State: Equatable {
        case offered
        case copying(round: Int)
        case fenced(round: Int)
        case committed
        case moved
        case abandoned
    }

    /// What must be undone when a migration is given up.
    enum Undo: Equatable {
        case nothing
        case stopTracking
        case stopTrackingAndUnfence
    }

    private(set) var state = State.offered

    mutating func accepted() {
        precondition(state == .offered)
        state = .copying(round: 1)
    }

    /// A round has been received; begins the next.
    mutating func nextRound() -> Int {
        guard case .copying(let round) = state else { preconditionFailure("a round follows a round") }
        state = .copying(round: round + 1)
        return round + 1
    }

    /// The guest waits from now on; the round that goes over now is the last.
    mutating func fence() -> Int {
        guard case .copying(let round) = state else { preconditionFailure("a fence follows a round") }
        state = .fenced(round: round + 1)
        return round + 1
    }

    /// The destination has everything.
    /// - Throws: `MigrationError.rootsDiffer` where that is not so.
    mutating func prepared(source: DiskRoot, destination: DiskRoot) throws {
        guard case .fenced = state else { preconditionFailure("roots are compared behind the fence") }
        guard source == destination else {
            throw MigrationError.rootsDiffer(source: source, destination: destination)
        }
    }

    /// The durable record has been written.
    mutating func committed() {
        guard case .fenced = state else { preconditionFailure("only a fenced disk is given away") }
        state = .committed
    }

    mutating func moved() {
        precondition(state == .committed)
        state = .moved
    }

    /// The migration is given up, for whatever reason.
    /// - Returns: what to undo; nil where it is too late and the destination has the disk.
    mutating func abandon() -> Undo? {
        switch state {
        case .offered, .abandoned:
            state = .abandoned
            return .nothing
        case .copying:
            state = .abandoned
            return .stopTracking
        case .fenced:
            state = .abandoned
            return .stopTrackingAndUnfence
        case .committed, .moved:
            return nil
        }
    }

    /// Rounds gone over so far, the current one included.
    var round: Int {
        switch state {
        case .copying(let round), .fenced(let round): round
        case .offered, .committed, .moved, .abandoned: 0
        }
    }
}
