/// A duration: `200ms`, `2s`, `10m` or `1h`.
public struct TimeSpan: Sendable {
    private static let seconds = ["ms": 0.001, "s": 1, "m": 60, "h": 3600]
    private static let forms = "a time is a number with ms, s, m or h, as in 200ms, 2s, 10m or 1h"
    /// About 30 years, in seconds.
    private static let longest = 1e9
    private static let otherWords = [
        "msec": "ms", "msecs": "ms", "sec": "s", "secs": "s", "second": "s", "seconds": "s", "min": "m", "mins": "m",
        "minute": "m", "minutes": "m", "hr": "h", "hrs": "h", "hour": "h", "hours": "h",
    ]

    /// Seconds, from 0 to less than 1e9.
    public let seconds: Double

    /// - Throws: `InvalidValue`, whose message lists the valid forms.
    public init(_ text: String) throws(InvalidValue) {
        let quantity = Quantity(text)
        guard let number = Self.number(quantity.number),
            let unit = Self.seconds[String(text.dropFirst(quantity.number.count))]
        else { throw InvalidValue(Self.forms + Self.advice(text, quantity)) }
        guard number * unit < Self.longest else { throw InvalidValue("it is longer than 30 years; \(Self.forms)") }
        seconds = number * unit
    }

    /// Parses the interval between repetitions, which must be longer than 0.
    /// - Throws: `InvalidValue`.
    public static func interval(_ text: String) throws(InvalidValue) -> TimeSpan {
        let span = try TimeSpan(text)
        guard span.seconds > 0 else { throw InvalidValue("it must be more than 0; \(forms)") }
        return span
    }

    /// Accepts `5`, `0.5` or `.5`; `Double` alone would also accept `1e400` and `0x1p3`.
    private static func number(_ digits: Substring) -> Double? {
        digits.contains(where: \.isNumber) ? Double(digits) : nil
    }

    private static func advice(_ text: String, _ quantity: Quantity) -> String {
        guard number(quantity.number) != nil else { return "" }
        let unit = quantity.unit.lowercased()
        if unit.isEmpty { return "; for \(text) give \(quantity.number)s or \(quantity.number)ms" }
        if let known = otherWords[unit] ?? (seconds[unit] == nil ? nil : unit) {
            return "; for \(text) give \(quantity.number)\(known)"
        }
        if ["d", "day", "days"].contains(unit), let days = UInt16(quantity.number) {
            return "; for \(text) give \(UInt32(days) * 24)h"
        }
        return ""
    }
}
