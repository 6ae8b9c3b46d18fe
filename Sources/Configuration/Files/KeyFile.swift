import CGLib
import Glibc

/// A file of `[sections]` with `key = value` lines. GLib parses it, as it does for nbd-server.
final class KeyFile {
    /// U+FEFF in UTF-8.
    private static let byteOrderMark: [UInt8] = [0xef, 0xbb, 0xbf]

    let path: String
    private let lines: KeyFileLines
    private let file: OpaquePointer

    /// - Throws: `ConfigurationError` if the file can't be read, or repeats a section or key. GLib would join repeated
    ///   sections, and take the last of repeated keys.
    convenience init(path: String) throws {
        var mistakes: [ConfigurationError] = []
        try self.init(path: path, mistakes: &mistakes)
        if let first = mistakes.first { throw first }
    }

    /// Reads the lines of a file that can be read, and adds a mistake for each of the others and each repetition.
    /// - Throws: `ConfigurationError` if nothing of the file can be read.
    init(path: String, mistakes: inout [ConfigurationError]) throws {
        self.path = path
        let contents = try Self.read(path)
        let lines = KeyFileLines(contents)
        self.lines = lines
        file = g_key_file_new()
        if let complaint = Self.load(contents, into: file) {
            // The line numbers are ours; whether the file can be read is for GLib to say.
            let found = lines.malformed.map { ConfigurationError(path, line: $0.line, $0.problem) }
            mistakes += found.isEmpty ? [ConfigurationError(path, "cannot be read: \(complaint)")] : found
            let others = Self.load(lines.readable, into: file)
            if let others, !found.isEmpty { mistakes.append(ConfigurationError(path, "cannot be read: \(others)")) }
        }
        mistakes += lines.repetitions.map { ConfigurationError(path, line: $0.line, $0.problem) }
    }

    /// - Returns: The reason if GLib can't read the contents.
    private static func load(_ contents: [UInt8], into file: OpaquePointer) -> String? {
        var problem: UnsafeMutablePointer<GError>?
        let isLoaded = contents.withUnsafeBytes {
            g_key_file_load_from_data(
                file, $0.baseAddress?.assumingMemoryBound(to: CChar.self), gsize($0.count), glib_no_flags(), &problem)
        }
        return isLoaded == 0 ? consumeMessage(problem) : nil
    }

    /// Line of each section, from 1.
    var sectionLines: [String: Int] { lines.sections }

    /// A mistake in the value of a key.
    /// - Parameter problem: Fault and remedy, in one line.
    func mistake(_ problem: String, _ key: String, in section: String) -> ConfigurationError {
        ConfigurationError(path, line: lines.keys[section]?[key], "[\(section)] \(key)\(problem)")
    }

    /// A mistake in a section.
    /// - Parameter problem: Fault and remedy, in one line.
    func mistake(_ problem: String, in section: String) -> ConfigurationError {
        ConfigurationError(path, line: lines.sections[section], "[\(section)] \(problem)")
    }

    deinit { g_key_file_unref(file) }

    private static func read(_ path: String) throws -> [UInt8] {
        let bytes: [UInt8]
        do { bytes = try TextFile.read(path) } catch { throw ConfigurationError(path, "cannot be read: \(error)") }
        if let problem = TextFile.problem(with: bytes) { throw ConfigurationError(path, problem) }
        // Editors of other systems begin a file so.
        return Array(bytes.starts(with: byteOrderMark) ? bytes.dropFirst(byteOrderMark.count)[...] : bytes[...])
    }

    var sections: [String] {
        Self.consumeList(g_key_file_get_groups(file, nil))
    }

    func keys(of section: String) -> [String] {
        Self.consumeList(g_key_file_get_keys(file, section, nil, nil))
    }

    /// Returns nil if the key is missing.
    /// - Throws: `ConfigurationError` for a malformed value, as the other getters do.
    func string(_ key: String, in section: String) throws -> String? {
        try value(key, section) { problem -> UnsafeMutablePointer<gchar>? in
            let text = g_key_file_get_string(self.file, section, key, problem)
            guard problem.pointee != nil else { return text }
            // GLib may return the part of a malformed value that it has read.
            g_free(text)
            return nil
        }
        .flatMap { $0 }.map(Self.consumeString)
    }

    /// Returns the value `true` or `false`; false if the key is missing.
    func boolean(_ key: String, in section: String) throws -> Bool {
        try value(key, section) { g_key_file_get_boolean(self.file, section, key, $0) } ?? 0 != 0
    }

    /// Returns a decimal whole number; nil if the key is missing.
    func integer(_ key: String, in section: String) throws -> Int64? {
        guard let text = try string(key, in: section) else { return nil }
        guard let number = Int64(text.trimmingWhitespace) else {
            throw mistake(": '\(text)' is not a whole number", key, in: section)
        }
        return number
    }

    /// Returns the text behind the `=` as it stands in the file; nil if the key is missing.
    func rawValue(_ key: String, in section: String) -> String? {
        g_key_file_get_value(file, section, key, nil).map(Self.consumeString)
    }

    /// Returns a list of values separated by `;`; empty if the key is missing.
    func strings(_ key: String, in section: String) throws -> [String] {
        let list = try value(key, section) { g_key_file_get_string_list(self.file, section, key, nil, $0) }
        return Self.consumeList(list.flatMap { $0 })
    }

    private func value<Value>(
        _ key: String, _ section: String, _ get: (UnsafeMutablePointer<UnsafeMutablePointer<GError>?>) -> Value
    ) throws -> Value? {
        guard g_key_file_has_key(file, section, key, nil) != 0 else { return nil }
        var problem: UnsafeMutablePointer<GError>?
        let found = get(&problem)
        guard problem == nil else {
            throw mistake(": \(Self.consumeMessage(problem))", key, in: section)
        }
        return found
    }

    private static func consumeMessage(_ problem: UnsafeMutablePointer<GError>?) -> String {
        guard let problem else { return "no reason given" }
        defer { g_error_free(problem) }
        return String(cString: problem.pointee.message)
    }

    private static func consumeString(_ string: UnsafeMutablePointer<gchar>) -> String {
        defer { g_free(string) }
        return String(cString: string)
    }

    private static func consumeList(_ list: UnsafeMutablePointer<UnsafeMutablePointer<gchar>?>?) -> [String] {
        guard let list else { return [] }
        defer { g_strfreev(list) }
        var strings: [String] = []
        var next = list
        while let string = next.pointee {
            strings.append(String(cString: string))
            next += 1
        }
        return strings
    }
}

extension String {
    /// The string without blanks at both ends.
    var trimmingWhitespace: String {
        String(drop(while: \.isWhitespace).reversed().drop(while: \.isWhitespace).reversed())
    }
}
