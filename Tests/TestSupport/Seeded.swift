import Foundation

/// A random generator whose seed is printed and can be repeated: NEARBLOCK_SEED=123 swift test --filter ...
package struct Seeded: RandomNumberGenerator {
    private var state: UInt64

    package init(_ seed: UInt64) { state = seed }

    /// A generator with a new seed, or with that of NEARBLOCK_SEED.
    package static func fresh(_ test: String = #function) -> Seeded {
        let given = ProcessInfo.processInfo.environment["NEARBLOCK_SEED"].flatMap(UInt64.init)
        let seed = given ?? .random(in: 0 ... .max)
        print("\(test): NEARBLOCK_SEED=\(seed)")
        return Seeded(seed)
    }

    package mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
        return mixed ^ (mixed >> 31)
    }

    package mutating func bytes(_ count: Int) -> [UInt8] {
        // Bytes are made in words, since a closure for each byte takes minutes under a sanitizer.
        var words = [UInt64](repeating: 0, count: (count + 7) / 8)
        for index in words.indices { words[index] = next() }
        return words.withUnsafeBytes { Array($0.prefix(count)) }
    }

    package mutating func chance(_ percent: Int) -> Bool {
        Int.random(in: 0..<100, using: &self) < percent
    }
}
