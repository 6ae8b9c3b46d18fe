import Foundation

/// SplitMix64: the same seed gives the same test.
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) {
        state = seed
    }

    /// A generator with a seed of its own, which is printed, or taken from NEARBLOCK_TEST_SEED.
    static func printed(_ test: String = #function) -> SeededGenerator {
        let given = ProcessInfo.processInfo.environment["NEARBLOCK_TEST_SEED"].flatMap(UInt64.init)
        let seed = given ?? UInt64.random(in: 0 ... .max)
        print("\(test): NEARBLOCK_TEST_SEED=\(seed)")
        return SeededGenerator(seed: seed)
    }

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }

    mutating func bytes(_ count: Int) -> [UInt8] {
        (0..<count).map { _ in UInt8(truncatingIfNeeded: next()) }
    }
}
