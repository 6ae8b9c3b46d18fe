import Foundation

@testable import Migration
@testable import MigrationCore

/// A node's state store, at which any operation may fail.
final class SimStore {
    /// Of an operation.
    struct Failure: Error {}

    private let world: World
    private let name: String
    /// How many of 100 operations fail for now.
    private var failing = 0
    /// Whether failed operations may have had an effect.
    private var isUncertain = false
    private var troubles = 0
    /// Whether an operation has ever failed.
    private(set) var hasFailed = false

    init(name: String, world: World) {
        self.name = name
        self.world = world
        world.watch(self)
    }

    /// Operations fail for a while: all of them before they change anything, as on a file system that has become
    /// read-only, or some of them at any moment.
    func fail(for time: UInt64) {
        isUncertain = world.chance(60)
        failing = isUncertain && world.chance(50) ? 50 : 100
        troubles += 1
        world.note(
            "\(name)'s state store fails \(failing) of 100, \(isUncertain ? "at any moment" : "at once")")
        let trouble = troubles
        world.after(time) { [self] in if trouble == troubles { mend() } }
    }

    func mend() { failing = 0 }

    /// How the next operation ends.
    func operate() -> CommitAttempt.Outcome {
        guard failing > 0, world.chance(failing) else { return .confirmed }
        hasFailed = true
        let outcome: CommitAttempt.Outcome = isUncertain && world.chance(70) ? .unknown : .unchanged
        world.note("\(name)'s state store: \(outcome)")
        return outcome
    }
}
