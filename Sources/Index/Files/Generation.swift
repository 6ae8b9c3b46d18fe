/// Tells one writing of a table from any other: 128 random bits.
struct Generation: Hashable, Sendable {
    static let byteCount = 16
    let bytes: [UInt8]

    static func new() -> Generation {
        Generation(bytes: (0..<byteCount).map { _ in .random(in: 0...255) })
    }
}
