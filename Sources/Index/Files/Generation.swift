/// A random number of 128 bits that changes each time a table is written.
struct Generation: Hashable, Sendable {
    static let byteCount = 16
    let bytes: [UInt8]

    static func new() -> Generation {
        Generation(bytes: (0..<byteCount).map { _ in .random(in: 0...255) })
    }
}
