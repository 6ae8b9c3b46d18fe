/// Rate in bits a second such as `100M`; K, M and G are powers of 1000, as for links.
public struct BitRate: Sendable {
    private static let base: UInt64 = 1000
    private static let letters = "kmg"
    private static let forms =
        "a rate is a whole number of bits a second, with K, M or G for powers of 1000, as in 100M"

    /// Bits a second, at least 1.
    public let bitsPerSecond: UInt64

    /// - Throws: `InvalidValue`, whose message lists the valid forms.
    public init(_ text: String) throws(InvalidValue) {
        guard let value = Quantity.exact(text, base: Self.base, letters: Self.letters) else {
            let meant = Quantity(text).meant(base: Self.base, bitsPerByte: 8)
            let advice = meant.map {
                "; for \(text) give \(Quantity.spelled($0, base: Self.base, letters: Self.letters))"
            }
            throw InvalidValue(Self.forms + (advice ?? ""))
        }
        guard value > 0 else { throw InvalidValue("a rate of 0 would never end; \(Self.forms)") }
        guard value < .max else { throw InvalidValue("it is faster than any link; \(Self.forms)") }
        bitsPerSecond = value
    }
}
