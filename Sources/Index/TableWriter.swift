/// Writes one table into a fresh file: the sections in turn, and last the header with their checksums.
struct TableWriter {
    private var header: TableHeader
    private let file: TemporaryFile

    /// - Parameters:
    ///   - header: All but the checksums.
    ///   - parts: The entries, ascending over all parts, no two of one fingerprint.
    static func write(_ header: TableHeader, name: String, parts: [[TableEntry]], to file: TemporaryFile)
        throws
    {
        var writer = TableWriter(header: header, file: file)
        try writer.section(.name) { section in
            for byte in name.utf8 { try section.append(byte, width: 1) }
        }
        try writer.writeFences(parts)
        try writer.section(.fingerprints) { section in
            for entry in parts.joined() { try section.append(entry.fingerprint) }
        }
        try writer.section(.blocks) { section in
            let width = header.blockWidth
            for entry in parts.joined() { try section.append(entry.number, width: width) }
        }
        try writer.header.encode().withUnsafeBytes { try file.write($0, at: 0) }
    }

    private mutating func writeFences(_ parts: [[TableEntry]]) throws {
        try section(.fences) { section in
            // The place of the part's next fence, counted from the part's first entry.
            var next = 0
            for part in parts {
                while next < part.count {
                    try section.append(part[next].fingerprint.high.byteSwapped, width: 8)
                    next += TableHeader.chunk
                }
                next -= part.count
            }
        }
    }

    private mutating func section(
        _ section: TableSection, _ body: (inout SectionWriter) throws -> Void
    ) throws {
        let range = header.range(of: section)
        var writer = SectionWriter(file: file, offset: range.lowerBound)
        try body(&writer)
        header.checksums[section.rawValue] = try writer.finish(expectedEnd: range.upperBound)
    }
}
