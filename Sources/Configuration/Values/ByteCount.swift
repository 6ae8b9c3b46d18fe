/// Number of bytes such as `4M`; K, M, G and T are powers of 1024.
public struct ByteCount: Sendable {
    private static let base: UInt64 = 1024
    private static let letters = "kmgt"
    private static let forms =
        "a size is a whole number of bytes, with K, M, G or T for powers of 1024, as in 4M"

    /// Number of bytes, from 0.
    public let bytes: UInt64

    /// - Throws: `InvalidValue`, whose message lists the valid forms.
    public init(_ text: String) throws(InvalidValue) {
        guard let value = Quantity.exact(text, base: Self.base, letters: Self.letters) else {
            let meant = Quantity(text).meant(base: Self.base, bitsPerByte: nil)
            let advice = meant.map {
                "; for \(text) give \(Quantity.spelled($0, base: Self.base, letters: Self.letters))"
            }
            throw InvalidValue(Self.forms + (advice ?? ""))
        }
        guard value < .max else { throw InvalidValue("it is larger than any disk; \(Self.forms)") }
        bytes = value
    }
}
