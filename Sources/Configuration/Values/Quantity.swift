/// A number with a unit, as users write it: `100M`, and what they write by mistake: `1.5M`, `10MB/s`.
struct Quantity {
    /// K, M, G, T: the first, second, third and fourth power of the base.
    private static let prefixes: [Character] = ["k", "m", "g", "t"]
    /// Longer numbers are not understood, so that arithmetic stays exact.
    private static let mostDigits = 15

    /// Digits, with a point or without.
    let number: Substring
    /// What follows, without spaces.
    let unit: String

    init(_ text: String) {
        number = text.prefix { $0.isASCII && $0.isNumber || $0 == "." }
        unit = String(text[number.endIndex...].filter { $0 != " " })
    }

    /// A whole number, with one letter for a power of `base` or without.
    /// - Parameter letters: those that are allowed, in lower case.
    /// - Returns: nil where it is anything else; `.max` where it is too large.
    static func exact(_ text: String, base: UInt64, letters: String) -> UInt64? {
        let quantity = Quantity(text)
        guard !quantity.number.isEmpty, !quantity.number.contains("."), text.utf8.count <= 40 else { return nil }
        var factor: UInt64 = 1
        if !quantity.unit.isEmpty {
            // A space between number and letter is no part of any form.
            guard text.utf8.count == quantity.number.utf8.count + 1, let letter = text.lowercased().last,
                letters.contains(letter), let power = prefixes.firstIndex(of: letter)
            else { return nil }
            for _ in 0...power { factor *= base }
        }
        guard let number = UInt64(quantity.number) else { return .max }
        let (value, overflows) = number.multipliedReportingOverflow(by: factor)
        return overflows ? .max : value
    }

    /// What was meant by a number with a fraction, or with a unit in full, such as `MB/s` or `Mbit`.
    /// - Parameters:
    ///   - base: of letters without an `i`.
    ///   - bitsPerByte: 8 where bits are counted; nil where bytes are, and bits make no sense.
    /// - Returns: nil where that is not clear, or no whole number.
    func meant(base: UInt64, bitsPerByte: UInt64?) -> UInt64? {
        guard let (digits, fraction) = decimal, let factor = factor(base: base, bitsPerByte: bitsPerByte) else {
            return nil
        }
        let (product, overflows) = digits.multipliedReportingOverflow(by: factor)
        guard !overflows, product > 0, product % fraction == 0 else { return nil }
        return product / fraction
    }

    /// The number as a whole one over a power of ten.
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
            // What is counted by the second is no size.
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
        // In a size nobody means bits.
        case "b": return factor
        case "bit", "bits", "Bit", "Bits": return bitsPerByte == nil ? nil : factor
        default: return nil
        }
    }

    /// A number in the shortest form that `exact` takes.
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
