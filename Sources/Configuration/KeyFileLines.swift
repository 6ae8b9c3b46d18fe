/// Line numbers of the sections and keys in a key file, by the rules of `g_key_file_parse_line` in GLib's gkeyfile.c.
struct KeyFileLines {
    /// A section, or a key of one, that occurs twice.
    struct Repetition: CustomStringConvertible {
        let section: String
        /// Nil if the section itself occurs twice.
        let key: String?
        let first: Int
        let second: Int

        var description: String {
            let what = key.map { "[\(section)] \($0)" } ?? "[\(section)]"
            return "\(what) is on line \(first) and again on line \(second); keep one of them"
        }
    }

    private static let byteOrderMark: [UInt8] = [0xef, 0xbb, 0xbf]

    /// Line of each section's first occurrence, from 1.
    private(set) var sections: [String: Int] = [:]
    /// First repetition in the file; nil for none.
    private(set) var repetition: Repetition?
    private var section: String?
    private var keys: [String: Int] = [:]

    /// Scans a whole file; it may be one that GLib can't read.
    init(_ contents: [UInt8]) {
        var rest = contents[...]
        if rest.starts(with: Self.byteOrderMark) { rest.removeFirst(Self.byteOrderMark.count) }
        let lines = rest.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
        for (index, line) in lines.enumerated() where repetition == nil {
            record(line.last == UInt8(ascii: "\r") ? line.dropLast() : line, number: index + 1)
        }
    }

    private mutating func record(_ line: ArraySlice<UInt8>, number: Int) {
        let line = line.drop(while: Self.isSpace)
        guard let first = line.first, first != UInt8(ascii: "#") else { return }
        if let name = Self.section(line) {
            if let before = sections[name] {
                repetition = Repetition(section: name, key: nil, first: before, second: number)
            }
            sections[name] = number
            section = name
            keys = [:]
        } else if let section, let key = Self.key(line) {
            if let before = keys[key] {
                repetition = Repetition(section: section, key: key, first: before, second: number)
            }
            keys[key] = number
        }
    }

    /// Returns NAME from `[NAME]`, which only blanks may follow.
    private static func section(_ line: ArraySlice<UInt8>) -> String? {
        guard line.first == UInt8(ascii: "["), let end = line.firstIndex(of: UInt8(ascii: "]")) else { return nil }
        let isAlone = line[(end + 1)...].allSatisfy { $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: "\t") }
        return isAlone ? String(decoding: line[line.startIndex + 1..<end], as: UTF8.self) : nil
    }

    /// Returns the text before the first `=`, without trailing blanks.
    private static func key(_ line: ArraySlice<UInt8>) -> String? {
        guard let equals = line.firstIndex(of: UInt8(ascii: "=")), equals > line.startIndex else { return nil }
        let key = line[..<equals].reversed().drop(while: isSpace).reversed()
        return String(decoding: key, as: UTF8.self)
    }

    /// Returns the same as `g_ascii_isspace`.
    private static func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || (0x09...0x0d).contains(byte) && byte != 0x0b }
}
