import Foundation

/// The processes of this machine, as proc(5) tells them.
package enum Processes {
    /// The processes that were started with a text in their arguments; none that has ended.
    package static func with(argument text: String) -> [pid_t] {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
        return names.compactMap { pid_t($0) }.filter { process in
            guard let words = FileManager.default.contents(atPath: "/proc/\(process)/cmdline") else { return false }
            return String(decoding: words, as: UTF8.self).contains(text)
        }
    }
}
