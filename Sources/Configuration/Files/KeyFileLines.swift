/// Line numbers of the sections and keys in a key file, by the rules of `g_key_file_parse_line` in GLib's gkeyfile.c.
struct KeyFileLines {
    /// A line that can't stay as it is.
    struct Fault {
        /// Number of the line, from 1.
        let line: Int
        let problem: String
    }

    private static let byteOrderMark: [UInt8] = [0xef, 0xbb, 0xbf]
    /// Bytes of a faulty line that a message shows.
    private static let shownBytes = 60

    /// Line of each section's first occurrence, from 1.
    private(set) var sections: [String: Int] = [:]
    /// Line of the first occurrence of each key, by section.
    private(set) var keys: [String: [String: Int]] = [:]
    /// Sections and keys that occur twice, in the order of the file.
    private(set) var repetitions: [Fault] = []
    /// Lines that are no section, key or comment, in the order of the file.
    private(set) var malformed: [Fault] = []
    /// The file with its malformed lines emptied, so that GLib can read the others.
    private(set) var readable: [UInt8] = []
    private var section: String?

    /// Scans a whole file; it may be one that GLib can't read.
    init(_ contents: [UInt8]) {
        var rest = contents[...]
        if rest.starts(with: Self.byteOrderMark) { rest.removeFirst(Self.byteOrderMark.count) }
        readable.reserveCapacity(rest.count)
        let lines = rest.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
        for (index, line) in lines.enumerated() {
            let faults = malformed.count
            record(line.last == UInt8(ascii: "\r") ? line.dropLast() : line, number: index + 1)
            if malformed.count == faults { readable += line }
            readable.append(UInt8(ascii: "\n"))
        }
    }

    private mutating func record(_ line: ArraySlice<UInt8>, number: Int) {
        let line = line.drop(while: Self.isSpace)
        guard let first = line.first, first != UInt8(ascii: "#") else { return }
        if let name = Self.section(line) {
            recordSection(name, number: number)
        } else if let key = Self.key(line) {
            recordKey(key, number: number)
        } else {
            malformed.append(
                Fault(
                    line: number,
                    problem: "'\(Self.shown(line))' is no line of a configuration; a line is [SECTION], KEY = VALUE or "
                        + "# COMMENT"))
        }
    }

    private mutating func recordSection(_ name: String, number: Int) {
        section = name
        if let before = sections[name] {
            repetitions.append(Self.repetition("[\(name)]", before, number))
        } else {
            sections[name] = number
        }
    }

    private mutating func recordKey(_ key: String, number: Int) {
        guard let section else {
            malformed.append(
                Fault(line: number, problem: "\(key) stands before the first section; begin with a line [node]"))
            return
        }
        if let before = keys[section]?[key] {
            repetitions.append(Self.repetition("[\(section)] \(key)", before, number))
        } else {
            keys[section, default: [:]][key] = number
        }
    }

    private static func repetition(_ what: String, _ first: Int, _ second: Int) -> Fault {
        Fault(line: second, problem: "\(what) is on line \(first) and again on line \(second); keep one of them")
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

    private static func shown(_ line: ArraySlice<UInt8>) -> String {
        let text = String(decoding: line.prefix(shownBytes), as: UTF8.self)
        return line.count > shownBytes ? "\(text)…" : text
    }

    /// Returns the same as `g_ascii_isspace`.
    private static func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || (0x09...0x0d).contains(byte) && byte != 0x0b }
}
