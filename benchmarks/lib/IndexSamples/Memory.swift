import Foundation

/// What this process has of memory, in bytes, as `/proc/self/status` says.
package struct Memory {
    /// Its own, beyond page cache.
    package let anonymous: Int
    /// Pages of mapped files: page cache.
    package let mapped: Int

    package static func now() -> Memory {
        let status = (try? String(contentsOfFile: "/proc/self/status", encoding: .utf8)) ?? ""
        func field(_ name: String) -> Int {
            let line = status.split(separator: "\n").first { $0.hasPrefix(name + ":") }
            let number = line?.split(whereSeparator: \.isWhitespace).dropFirst().first.flatMap { Int($0) }
            return (number ?? 0) * 1024
        }
        return Memory(anonymous: field("RssAnon"), mapped: field("RssFile"))
    }
}
