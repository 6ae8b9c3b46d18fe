import Glibc

/// One opened and verified catalogue file.
final class Catalogue: Sendable {
    let header: CatalogueHeader
    let tables: [TableKey]
    let file: IndexFile
    /// Number of each bucket's first entry, and at the end the number of entries.
    private let starts: [UInt32]

    /// - Parameters:
    ///   - blockSize: Block size of the index; a catalogue with another one is refused.
    ///   - check: Whether the entries are verified too.
    convenience init(path: String, blockSize: Int, check: TableCheck) throws(TableFault) {
        try self.init(IndexFile(path: path), blockSize: blockSize, check: check, isForeign: false)
    }

    /// - Parameter isForeign: Whether another host may have made the file, which then takes no more memory than its entries
    ///   explain.
    init(_ file: IndexFile, blockSize: Int, check: TableCheck, isForeign: Bool) throws(TableFault) {
        self.file = file
        header = try Self.readHeader(file)
        guard header.blockSize == blockSize else { throw .blockSize(header.blockSize) }
        // A catalogue of this release has 64 entries a bucket, less those that repeat within a table.
        guard !isForeign || header.bucketCount <= max(4096, header.entryCount) else { throw .damaged("header") }
        let list = try Self.section(of: file, header.tablesRange, digest: header.tablesDigest, name: "tables")
        tables = stride(from: 0, to: list.count, by: TableKey.byteCount).map {
            TableKey(bytes: list[$0..<$0 + TableKey.byteCount])
        }
        starts = try Self.readStarts(file, header)
        if check == .everything {
            guard try TableDigest.compute(file, header.entriesRange, threads: 1) == header.entriesDigest else {
                throw .damaged("entries")
            }
        }
        file.expectRandomReads()
    }

    /// Makes a catalogue of a file that holds nothing but the entries. It lists no tables.
    init(header: CatalogueHeader, starts: [UInt32], file: IndexFile) {
        self.header = header
        self.starts = starts
        self.file = file
        tables = []
        file.expectRandomReads()
    }

    /// Returns the numbers of a bucket's entries.
    func entries(ofBucket bucket: Int) -> Range<Int> { Int(starts[bucket])..<Int(starts[bucket + 1]) }

    private static func readHeader(_ file: IndexFile) throws(TableFault) -> CatalogueHeader {
        var bytes = [UInt8](repeating: 0, count: Int(min(UInt64(CatalogueHeader.byteCount), file.size)))
        guard bytes.withUnsafeMutableBytes({ file.read(into: $0, at: 0) }) else { throw file.readFault }
        let header = try CatalogueHeader(decoding: bytes)
        // The file's real size bounds everything that is allocated for this catalogue.
        guard header.fileSize == file.size else { throw .truncated }
        return header
    }

    private static func readStarts(_ file: IndexFile, _ header: CatalogueHeader) throws(TableFault) -> [UInt32] {
        guard try file.digest(header.startsRange) == header.startsDigest else { throw .damaged("buckets") }
        let starts = [UInt32](unsafeUninitializedCapacity: header.bucketCount + 1) { numbers, count in
            guard file.read(into: UnsafeMutableRawBufferPointer(numbers), at: header.startsRange.lowerBound) else {
                return
            }
            count = numbers.count
        }
        guard starts.count == header.bucketCount + 1 else { throw file.readFault }
        guard starts.first == 0, starts.last == UInt32(header.entryCount),
            zip(starts, starts.dropFirst()).allSatisfy(<=)
        else { throw .damaged("buckets") }
        return starts
    }

    private static func section(
        of file: IndexFile, _ range: Range<UInt64>, digest: [UInt8], name: String
    ) throws(TableFault) -> [UInt8] {
        guard try file.digest(range) == digest else { throw .damaged(name) }
        var bytes = [UInt8](repeating: 0, count: range.count)
        guard bytes.withUnsafeMutableBytes({ file.read(into: $0, at: range.lowerBound) }) else {
            throw file.readFault
        }
        return bytes
    }
}
