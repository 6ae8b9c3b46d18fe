import Glibc

/// One neighbour's table, opened and checked.
final class Table: Sendable {
    let header: TableHeader
    /// The neighbour's name.
    let name: String
    let fences: Fences
    /// Where the columns start in the file.
    let fingerprintsAt: UInt64
    let blocksAt: UInt64
    let file: IndexFile

    /// - Parameter blockSize: The index's, which the table must share.
    init(path: String, blockSize: Int, check: TableCheck) throws(TableFault) {
        file = try IndexFile(path: path)
        header = try Self.readHeader(file)
        guard header.blockSize == blockSize else { throw .blockSize(header.blockSize) }
        name = try Self.readName(file, header)
        let expected = IndexFileName.file(forNeighbour: name)
        guard path.hasSuffix("/" + expected) else { throw .misnamed(neighbour: name) }
        fences = try Self.readFences(file, header)
        fingerprintsAt = header.range(of: .fingerprints).lowerBound
        blocksAt = header.range(of: .blocks).lowerBound
        if check == .everything {
            try Self.verify(.fingerprints, file, header)
            try Self.verify(.blocks, file, header)
        }
    }

    private static func readHeader(_ file: IndexFile) throws(TableFault) -> TableHeader {
        var bytes = [UInt8](repeating: 0, count: Int(min(UInt64(TableHeader.byteCount), file.size)))
        guard bytes.withUnsafeMutableBytes({ file.read(into: $0, at: 0) }) else { throw .unreadable(EIO) }
        let header = try TableHeader(decoding: bytes)
        // Bounds everything that is allocated for this table by what really lies on the disk.
        guard header.fileSize == file.size else { throw .truncated }
        return header
    }

    private static func readName(_ file: IndexFile, _ header: TableHeader) throws(TableFault) -> String {
        var bytes: [UInt8] = []
        try verify(.name, file, header) { bytes += $0 }
        guard let name = String(validating: bytes, as: UTF8.self), name.first == "/", !bytes.contains(0)
        else {
            throw .damaged("name")
        }
        return name
    }

    private static func readFences(_ file: IndexFile, _ header: TableHeader) throws(TableFault) -> Fences {
        var fences = Fences()
        try verify(.fences, file, header) { (piece) throws(TableFault) in
            for offset in stride(from: 0, to: piece.count, by: 8) {
                let prefix = UInt64(bigEndian: piece.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
                // Stops here, so that a huge hole in a crafted file can't fill the memory.
                guard fences.append(prefix) else { throw .damaged("\(TableSection.fences)") }
            }
        }
        return fences
    }

    private static func verify(
        _ section: TableSection, _ file: IndexFile, _ header: TableHeader,
        piece: (UnsafeRawBufferPointer) throws(TableFault) -> Void = { _ in }
    ) throws(TableFault) {
        let digest = try file.digest(header.range(of: section), piece: piece)
        guard digest == header.checksums[section.rawValue] else { throw .damaged("\(section)") }
    }
}
