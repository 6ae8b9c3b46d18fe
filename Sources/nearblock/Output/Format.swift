import Foundation

/// Numbers as a person reads them.
enum Format {
    /// `1.4 GiB`; powers of 1024.
    static func bytes(_ count: UInt64) -> String {
        let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"]
        var value = Double(count)
        var unit = 0
        while value >= 1024, unit < units.count - 1 {
            value /= 1024
            unit += 1
        }
        return unit == 0
            ? "\(count) B" : String(format: value < 10 ? "%.2f %@" : "%.1f %@", value, units[unit])
    }

    /// `12.3 %` of a whole.
    static func percent(_ part: UInt64, of whole: UInt64) -> String {
        String(format: "%5.1f %%", whole == 0 ? 0 : Double(part) / Double(whole) * 100)
    }

    /// `1.25 s` or `48 ms`.
    static func seconds(_ value: Double) -> String {
        value < 1 ? String(format: "%.0f ms", value * 1000) : String(format: "%.2f s", value)
    }
}
