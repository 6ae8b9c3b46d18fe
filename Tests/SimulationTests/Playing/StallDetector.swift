/// Finds games that do not end, from how many each slot has begun and ended; does nothing itself.
struct StallDetector {
    /// A game that has been played for too long.
    struct Stall: Equatable {
        let slot: Int
        /// For how many ticks it has been played at least.
        let ticks: Int
        /// Whether it has been named before and there is no use in waiting on.
        let isHopeless: Bool
    }

    private let patience: Int
    private var turns: [UInt64]
    private var ticks: [Int]

    /// - Parameter patience: ticks after which a game is named; after twice as many it is hopeless.
    init(slots: Int, patience: Int) {
        self.patience = patience
        turns = Array(repeating: 0, count: slots)
        ticks = Array(repeating: 0, count: slots)
    }

    /// A tick has passed.
    /// - Parameter turns: for each slot, odd while a game is played there, and another number for each game.
    mutating func tick(_ turns: [UInt64]) -> [Stall] {
        var stalls: [Stall] = []
        for slot in turns.indices {
            let isSame = turns[slot] == self.turns[slot] && turns[slot] % 2 == 1
            ticks[slot] = isSame ? ticks[slot] + 1 : 0
            guard ticks[slot] == patience || ticks[slot] == 2 * patience else { continue }
            stalls.append(Stall(slot: slot, ticks: ticks[slot], isHopeless: ticks[slot] == 2 * patience))
        }
        self.turns = turns
        return stalls
    }
}
