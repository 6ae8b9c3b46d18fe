import Glibc

/// Reads a file that people write, and refuses others before their bytes are taken for mistakes.
enum TextFile {
    /// A file that can't be read: the reason and the remedy.
    struct Unreadable: Error, CustomStringConvertible {
        let description: String
    }

    /// Bytes of the longest file; about a hundred thousand exports.
    static let longest = 16 << 20

    /// Reads a file as a whole, which may also be a pipe. Blocks the thread.
    /// - Throws: `Unreadable`.
    static func read(_ path: String) throws -> [UInt8] {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw unreadable(errno) }
        defer { close(descriptor) }
        var bytes: [UInt8] = []
        var part = [UInt8](repeating: 0, count: 64 << 10)
        while true {
            let count = Glibc.read(descriptor, &part, part.count)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw unreadable(errno) }
            guard count > 0 else { return bytes }
            bytes += part.prefix(count)
            guard bytes.count <= longest else {
                throw Unreadable(
                    description: "it has more than \(longest >> 20) MiB; give a configuration file, and not an image")
            }
        }
    }

    /// Finds the reason why bytes are no text, in one line; nil if they are. A comment may be in any encoding.
    static func problem(with bytes: [UInt8]) -> String? {
        let lines = bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
        for (index, line) in lines.enumerated() {
            let remedy = "give a configuration file, with lines [SECTION], KEY = VALUE or # COMMENT"
            if line.contains(0) { return "is no text file: line \(index + 1) has a NUL byte; \(remedy)" }
            guard line.first != UInt8(ascii: "#"), String(validating: line, as: UTF8.self) == nil else { continue }
            return "is no text file: line \(index + 1) is not UTF-8; save it as UTF-8, or \(remedy)"
        }
        return nil
    }

    private static func unreadable(_ code: CInt) -> Unreadable {
        Unreadable(
            description: "\(String(cString: strerror(code))); give a configuration file that user \(geteuid()) may read"
        )
    }
}
