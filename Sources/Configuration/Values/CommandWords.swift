import CGLib
import Foundation
import Glibc

/// A command of the operator's, such as `/usr/local/bin/volume --pool "my pool" prepare`. Quotes and backslashes have the
/// meaning that they have in a shell; nothing else has.
public struct CommandWords: Sendable {
    /// The words; the first is an absolute path of a program.
    public let words: [String]

    /// - Throws: `InvalidValue` if it has no words, or the first is no path of a program.
    public init(_ text: String) throws(InvalidValue) {
        var words = try Self.split(text)
        guard words[0].contains("/") else {
            throw InvalidValue("a command begins with the path of a program, as in /usr/local/bin/\(words[0])")
        }
        words[0] = URL(fileURLWithPath: words[0]).standardizedFileURL.path
        var info = stat()
        guard stat(words[0], &info) == 0, access(words[0], X_OK) == 0 else {
            throw InvalidValue("\(words[0]) can't be run: \(String(cString: strerror(errno)))")
        }
        guard info.st_mode & S_IFMT == S_IFREG else { throw InvalidValue("\(words[0]) is not a program") }
        self.words = words
    }

    private static func split(_ text: String) throws(InvalidValue) -> [String] {
        var count: gint = 0
        var list: UnsafeMutablePointer<UnsafeMutablePointer<gchar>?>?
        var problem: UnsafeMutablePointer<GError>?
        guard g_shell_parse_argv(text, &count, &list, &problem) != 0, let list else {
            defer { if let problem { g_error_free(problem) } }
            throw InvalidValue(problem.map { String(cString: $0.pointee.message) } ?? "it has no words")
        }
        defer { g_strfreev(list) }
        return (0..<Int(count)).compactMap { list[$0].map { String(cString: $0) } }
    }
}
