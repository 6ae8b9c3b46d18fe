import Foundation

/// Preshared keys, by the names of the clients.
///
/// The file has a line `name:key` for each, the key in hexadecimal digits, as GnuTLS's psktool(1) writes it.
final class PresharedKeys: Sendable {
    /// OpenSSL takes no longer one (PSK_MAX_PSK_LEN).
    private static let longestKey = 256

    private let keys: [String: [UInt8]]

    /// Reads the file.
    /// - Throws: `TLSError`, which names the file or the line.
    init(path: String) throws {
        guard let text = try? String(contentsOfFile: path, encoding: .utf8) else {
            throw TLSError("cannot read \(path): check that it is there, readable and text")
        }
        var keys: [String: [UInt8]] = [:]
        for (index, line) in text.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
            let line = line.trimmingCharacters(in: .whitespaces)
            if line.isEmpty || line.hasPrefix("#") { continue }
            guard let colon = line.lastIndex(of: ":"), colon > line.startIndex,
                let key = Self.bytes(hexadecimal: line[line.index(after: colon)...]), key.count <= Self.longestKey
            else {
                throw TLSError("\(path), line \(index + 1): a line is NAME:KEY, with at most 256 bytes in hexadecimal")
            }
            keys[String(line[..<colon])] = key
        }
        guard !keys.isEmpty else { throw TLSError("\(path) has no keys: make one with psktool -u NAME -p \(path)") }
        self.keys = keys
    }

    /// The key of a client, 1 to 256 bytes; nil where the file has none.
    func key(of name: String) -> [UInt8]? {
        keys[name]
    }

    private static func bytes(hexadecimal digits: Substring) -> [UInt8]? {
        let values = digits.map(\.hexDigitValue)
        guard !values.isEmpty, values.count % 2 == 0, !values.contains(nil) else { return nil }
        return stride(from: 0, to: values.count, by: 2).map { UInt8(values[$0]! << 4 | values[$0 + 1]!) }
    }
}
