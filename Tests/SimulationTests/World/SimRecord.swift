@testable import Migration
@testable import MigrationCore

/// A durable record: what a process finds of it that starts again, and what the machine may come back to.
struct SimRecord<Value> {
    /// The record as this machine's kernel shows it.
    private(set) var visible: Value
    /// The last of what may be found once the machine has gone down is `visible`; one where it is durable.
    private var candidates: [Value]

    init(_ value: Value) {
        visible = value
        candidates = [value]
    }

    /// Whether the machine may come back to something else.
    var isInDoubt: Bool { candidates.count > 1 }

    /// Replaces the record; a record that is removed is one that is replaced by none.
    mutating func write(_ value: Value, _ store: SimStore, _ world: World) -> CommitAttempt.Outcome {
        let outcome = store.operate()
        switch outcome {
        case .confirmed: self = SimRecord(value)
        case .unchanged: break
        case .unknown:
            guard world.chance(60) else { break }
            visible = value
            candidates.append(value)
        }
        return outcome
    }

    /// The machine goes down.
    mutating func crash(_ world: World) {
        guard isInDoubt else { return }
        self = SimRecord(candidates.randomElement(using: &world.random)!)
    }
}
