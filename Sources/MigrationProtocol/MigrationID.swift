import NIOCore

/// Names one attempt to move one disk; 128 random bits.
public struct MigrationID: Hashable, Sendable, Codable, CustomStringConvertible {
    private let high: UInt64
    private let low: UInt64

    /// A new name.
    public init() {
        high = .random(in: .min ... .max)
        low = .random(in: .min ... .max)
    }

    package init?(from buffer: inout ByteBuffer) {
        guard let (high, low) = buffer.readMultipleIntegers(as: (UInt64, UInt64).self) else { return nil }
        self.high = high
        self.low = low
    }

    package func encode(into buffer: inout ByteBuffer) {
        buffer.writeMultipleIntegers(high, low)
    }

    /// 32 hexadecimal digits.
    public var description: String {
        [high, low].map { word in
            let digits = String(word, radix: 16)
            return String(repeating: "0", count: 16 - digits.count) + digits
        }.joined()
    }
}
