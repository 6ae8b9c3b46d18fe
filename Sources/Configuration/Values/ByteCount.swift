/// Bytes: `4M`; K, M, G and T stand for powers of 1024.
public struct ByteCount: Sendable {
    private static let base: UInt64 = 1024
    private static let letters = "kmgt"
    private static let forms =
        "a size is a whole number of bytes, of which K, M, G and T make 1024, 1024 K, 1024 M and 1024 G, as in 4M"

    /// Any number.
    public let bytes: UInt64

    /// - Throws: `InvalidValue`, which says which forms are valid.
    public init(_ text: String) throws(InvalidValue) {
        guard let value = Quantity.exact(text, base: Self.base, letters: Self.letters) else {
            let meant = Quantity(text).meant(base: Self.base, bitsPerByte: nil)
            let advice = meant.map {
                "; for \(text) give \(Quantity.spelled($0, base: Self.base, letters: Self.letters))"
            }
            throw InvalidValue(Self.forms + (advice ?? ""))
        }
        guard value < .max else { throw InvalidValue("it is more than any disk has; \(Self.forms)") }
        bytes = value
    }
}
