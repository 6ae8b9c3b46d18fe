import Hashing

/// Names of the files in an index directory.
///
/// - `index.json`: the settings of the index.
/// - `index.lock`: locked while files appear or vanish.
/// - `merge.lock`: locked while catalogues are merged.
/// - 32 hexadecimal digits and `.table`: the table of the neighbour whose name has this hash.
/// - 32 random hexadecimal digits and `.catalogue`: the tables and blocks of some tables' fingerprints.
/// - any of these with 16 more digits and `.tmp`: being written, and locked by its writer.
enum IndexFileName {
    static let settings = "index.json"
    static let lock = "index.lock"
    static let mergeLock = "merge.lock"
    static let tableSuffix = ".table"
    static let catalogueSuffix = ".catalogue"
    static let temporarySuffix = ".tmp"

    /// Returns the 16 bytes that name a neighbour's table.
    static func digest(ofNeighbour name: String) -> [UInt8] {
        var name = name
        return Array(name.withUTF8 { BlockHasher().digest(UnsafeRawBufferPointer($0)) }.prefix(16))
    }

    static func file(forNeighbour name: String) -> String {
        digest(ofNeighbour: name).map { hexadecimal(UInt64($0), digits: 2) }.joined() + tableSuffix
    }

    static func newCatalogue() -> String {
        (0..<2).map { _ in hexadecimal(.random(in: 0 ... .max), digits: 16) }.joined() + catalogueSuffix
    }

    static func temporary(for file: String) -> String {
        "\(file).\(hexadecimal(.random(in: 0 ... .max), digits: 16))\(temporarySuffix)"
    }

    /// Returns whether `temporary(for:)` may have made this name. Files of other programs must not be deleted.
    static func isTemporary(_ name: String) -> Bool {
        guard name.hasSuffix(temporarySuffix) else { return false }
        let parts = name.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 4, parts[2].count == 16, parts[2].allSatisfy(\.isHexDigit) else { return false }
        return name.hasPrefix(settings + ".")
            || [tableSuffix, catalogueSuffix].contains("." + parts[1]) && parts[0].count == 32
    }

    private static func hexadecimal(_ number: UInt64, digits: Int) -> String {
        let text = String(number, radix: 16)
        return String(repeating: "0", count: digits - text.count) + text
    }
}
