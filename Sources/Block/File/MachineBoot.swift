import Foundation

/// Which start of this machine it is.
public enum MachineBoot {
    /// Changes with every start of the machine, and with it what the page cache held is gone; 0 where nobody can tell.
    /// From `/proc/sys/kernel/random/boot_id`, random(4).
    public static let current: UInt64 = {
        let text = try? String(contentsOfFile: "/proc/sys/kernel/random/boot_id", encoding: .utf8)
        return text.flatMap { UInt64($0.filter(\.isHexDigit).prefix(16), radix: 16) } ?? 0
    }()
}
