/// A number with a unit, as users write it: `100M`, but also mistakes such as `1.5M` or `10MB/s`.
struct Quantity {
    /// Unit letters for the first to fourth power of the base.
    private static let prefixes: [Character] = ["k", "m", "g", "t"]
    /// Longer numbers are rejected, so that arithmetic stays exact.
    private static let mostDigits = 15

    /// Digits, with at most one decimal point in a valid number.
    let number: Substring
    /// Text after the number, without spaces.
    let unit: String

    init(_ text: String) {
        number = text.prefix { $0.isASCII && $0.isNumber || $0 == "." }
        unit = String(text[number.endIndex...].filter { $0 != " " })
    }

    /// Parses a whole number with at most one letter, which stands for a power of `base`.
    /// - Parameter letters: Allowed letters, in lower case.
    /// - Returns: Nil for any other text; `.max` if the number is too large.
    static func exact(_ text: String, base: UInt64, letters: String) -> UInt64? {
        let quantity = Quantity(text)
        guard !quantity.number.isEmpty, !quantity.number.contains("."), text.utf8.count <= 40 else { return nil }
        var factor: UInt64 = 1
        if !quantity.unit.isEmpty {
            // No form allows a space between number and letter.
            guard text.utf8.count == quantity.number.utf8.count + 1, let letter = text.lowercased().last,
                letters.contains(letter), let power = prefixes.firstIndex(of: letter)
            else { return nil }
            for _ in 0...power { factor *= base }
        }
        guard let number = UInt64(quantity.number) else { return .max }
        let (value, overflows) = number.multipliedReportingOverflow(by: factor)
        return overflows ? .max : value
    }

    /// Guesses the value of a number with a fraction, or with a full unit such as `MB/s` or `Mbit`.
    /// - Parameters:
    ///   - base: Base of letters without an `i`.
    ///   - bitsPerByte: 8 if the value is in bits; nil if it is in bytes, and a unit of bits is an error.
    /// - Returns: Nil if the value is unclear or not whole.
    func meant(base: UInt64, bitsPerByte: UInt64?) -> UInt64? {
        guard let (digits, fraction) = decimal, let factor = factor(base: base, bitsPerByte: bitsPerByte) else {
            return nil
        }
        let (product, overflows) = digits.multipliedReportingOverflow(by: factor)
        guard !overflows, product > 0, product % fraction == 0 else { return nil }
        return product / fraction
    }

    /// The number as digits and a power of ten that divides them.
    private var decimal: (UInt64, UInt64)? {
        let parts = number.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count <= 2, number.utf8.count <= Self.mostDigits, let digits = UInt64(parts.joined()) else {
            return nil
        }
        var fraction: UInt64 = 1
        for _ in 0..<(parts.count == 2 ? parts[1].utf8.count : 0) { fraction *= 10 }
        return (digits, fraction)
    }

    private func factor(base: UInt64, bitsPerByte: UInt64?) -> UInt64? {
        var rest = Substring(unit)
        for suffix in ["/s", "/sec", "ps"] where rest.hasSuffix(suffix) {
            // A size has no unit per second.
            guard bitsPerByte != nil else { return nil }
            rest = rest.dropLast(suffix.count)
            break
        }
        var base = base
        var power = 0
        if let letter = rest.lowercased().first, let index = Self.prefixes.firstIndex(of: letter) {
            power = index + 1
            rest = rest.dropFirst()
            if rest.first == "i" {
                base = 1024
                rest = rest.dropFirst()
            }
        }
        var factor: UInt64 = 1
        for _ in 0..<power { factor *= base }
        switch rest {
        case "": return factor
        case "B", "byte", "bytes", "Byte", "Bytes": return factor * (bitsPerByte ?? 1)
        // A lower-case b in a size is taken for bytes.
        case "b": return factor
        case "bit", "bits", "Bit", "Bits": return bitsPerByte == nil ? nil : factor
        default: return nil
        }
    }

    /// Formats a number in the shortest form that `exact` accepts.
    static func spelled(_ value: UInt64, base: UInt64, letters: String) -> String {
        var (number, suffix) = (value, "")
        for letter in prefixes where letters.contains(letter) {
            guard number > 0, number % base == 0 else { break }
            number /= base
            suffix = letter.uppercased()
        }
        return "\(number)\(suffix)"
    }
}
