import ArgumentParser

/// Bits a second: `100M`; K, M and G stand for powers of 1000, as links are sold.
struct BitRate: ExpressibleByArgument {
    let bitsPerSecond: UInt64

    init?(argument: String) {
        let factors: [Character: UInt64] = ["K": 1000, "M": 1_000_000, "G": 1_000_000_000]
        let factor = argument.last.flatMap { factors[Character($0.uppercased())] }
        guard let number = UInt64(factor == nil ? argument[...] : argument.dropLast()), number > 0 else {
            return nil
        }
        let (value, overflows) = number.multipliedReportingOverflow(by: factor ?? 1)
        guard !overflows else { return nil }
        bitsPerSecond = value
    }
}
