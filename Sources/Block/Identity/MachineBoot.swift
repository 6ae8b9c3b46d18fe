import Foundation

/// Identifies the boot of this machine.
public enum MachineBoot {
    /// A number that changes with every boot, which also loses the contents of the page cache; 0 if it is unknown.
    /// From `/proc/sys/kernel/random/boot_id`, random(4).
    public static let current: UInt64 = {
        let text = try? String(contentsOfFile: "/proc/sys/kernel/random/boot_id", encoding: .utf8)
        return text.flatMap { UInt64($0.filter(\.isHexDigit).prefix(16), radix: 16) } ?? 0
    }()
}
