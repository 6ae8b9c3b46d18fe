import Migration
import PeerModel

/// None of several destinations takes the disks.
struct NoDestination: Error, CustomStringConvertible {
    let reasons: [(destination: PeerAddress, error: any Error)]

    var description: String {
        "none of the destinations takes it: "
            + reasons.map { "\($0.destination): \($0.error)" }.joined(separator: "; ")
    }

    /// The outcome that all of them share; otherwise `refused` if one has answered, for programs that wait and try again.
    var outcome: MigrationOutcome {
        let outcomes = Set(reasons.map { MigrationOutcome(of: $0.error) })
        if outcomes.count == 1, let only = outcomes.first { return only }
        return outcomes.isDisjoint(with: [.refused, .full]) ? .failed : .refused
    }
}
