import TestSupport

/// Damages bytes.
enum Mutation {
    /// Changes, removes or repeats some bytes.
    static func apply(_ bytes: inout [UInt8], _ random: inout Seeded) {
        guard !bytes.isEmpty else { return }
        let start = Int.random(in: bytes.indices, using: &random)
        let end = min(bytes.count, start + Int.random(in: 1...16, using: &random))
        switch Int.random(in: 0..<5, using: &random) {
        case 0: bytes[start] ^= 1 << UInt8.random(in: 0..<8, using: &random)
        case 1: bytes.removeSubrange(start..<end)
        case 2: bytes.insert(contentsOf: Array(bytes[start..<end]), at: start)
        case 3: for place in start..<end { bytes[place] = 0xff }
        default: bytes.replaceSubrange(start..<end, with: random.bytes(end - start))
        }
    }
}
