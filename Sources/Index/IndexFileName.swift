/// The names of the files in an index directory.
///
/// - `index.json`: the settings of the index.
/// - `index.lock`: locked while files appear or vanish.
/// - 32 hexadecimal digits and `.table`: the table of the neighbour whose name has this hash.
/// - any of these with 16 digits and `.tmp` behind: being written, and locked by its writer.
enum IndexFileName {
    static let settings = "index.json"
    static let lock = "index.lock"
    static let tableSuffix = ".table"
    static let temporarySuffix = ".tmp"

    static func file(forNeighbour name: String) -> String {
        var name = name
        let digest = name.withUTF8 { BlockHasher().digest(UnsafeRawBufferPointer($0)) }
        return digest[..<16].map { hexadecimal(UInt64($0), digits: 2) }.joined() + tableSuffix
    }

    static func temporary(for file: String) -> String {
        "\(file).\(hexadecimal(.random(in: 0 ... .max), digits: 16))\(temporarySuffix)"
    }

    /// Whether `temporary(for:)` may have made this name; other people's files are none of ours to delete.
    static func isTemporary(_ name: String) -> Bool {
        guard name.hasSuffix(temporarySuffix) else { return false }
        let parts = name.split(separator: ".", omittingEmptySubsequences: false)
        return parts.count == 4 && parts[2].count == 16 && parts[2].allSatisfy(\.isHexDigit)
            && (name.hasPrefix(settings + ".") || "." + parts[1] == tableSuffix && parts[0].count == 32)
    }

    private static func hexadecimal(_ number: UInt64, digits: Int) -> String {
        let text = String(number, radix: 16)
        return String(repeating: "0", count: digits - text.count) + text
    }
}
