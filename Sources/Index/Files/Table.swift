import BlockModel
import Glibc
import Hashing

/// One opened and verified table file.
final class Table: Sendable {
    let header: TableHeader
    /// Name of the neighbour.
    let name: String
    let domain: String
    /// The blocks of the image.
    let geometry: BlockGeometry
    let file: IndexFile
    /// Key by which catalogues refer to this table.
    let key: TableKey
    /// The host that has the image; nil for this one.
    let owner: RemoteTables?

    /// - Parameters:
    ///   - blockSize: Block size of the index; a table with another one is refused.
    ///   - check: Whether the fingerprints are verified too.
    convenience init(path: String, blockSize: Int, check: TableCheck) throws(TableFault) {
        try self.init(IndexFile(path: path), blockSize: blockSize, check: check, owner: nil)
    }

    /// - Parameter owner: The host that has the image; nil for this one.
    init(_ file: IndexFile, blockSize: Int, check: TableCheck, owner: RemoteTables?) throws(TableFault) {
        self.owner = owner
        self.file = file
        header = try Self.readHeader(file)
        guard header.blockSize == blockSize else { throw .blockSize(header.blockSize) }
        (name, domain, geometry) = try Self.readText(file, header)
        key = TableKey(file: IndexFileName.digest(ofNeighbour: name), generation: header.generation)
        let expected = IndexFileName.file(forNeighbour: name)
        guard file.path.hasSuffix("/" + expected) else { throw .misnamed(neighbour: name) }
        if check == .everything {
            let digest = try TableDigest.compute(file, header.fingerprintsRange, threads: 1)
            guard digest == header.fingerprintsDigest else { throw .damaged("fingerprints") }
        }
        file.expectRandomReads()
    }

    var fingerprints: TableFingerprints { TableFingerprints(file: file, header: header) }

    /// Returns the offset in the file of a block's fingerprint.
    func offset(of block: UInt64) -> UInt64 {
        header.fingerprintsRange.lowerBound + block * UInt64(Fingerprint.byteCount)
    }

    private static func readHeader(_ file: IndexFile) throws(TableFault) -> TableHeader {
        var bytes = [UInt8](repeating: 0, count: Int(min(UInt64(TableHeader.byteCount), file.size)))
        guard bytes.withUnsafeMutableBytes({ file.read(into: $0, at: 0) }) else { throw file.readFault }
        let header = try TableHeader(decoding: bytes)
        guard header.fileSize == file.size else { throw .truncated }
        return header
    }

    private static func readText(
        _ file: IndexFile, _ header: TableHeader
    ) throws(TableFault) -> (String, String, BlockGeometry) {
        guard try file.digest(header.textRange) == header.nameDigest else { throw .damaged("name") }
        var bytes = [UInt8](repeating: 0, count: header.textRange.count)
        guard bytes.withUnsafeMutableBytes({ file.read(into: $0, at: header.nameRange.lowerBound) }) else {
            throw file.readFault
        }
        let names = bytes[..<(header.nameLength + header.domainLength)]
        let origins = (0..<header.originCount).map {
            bytes.number(at: names.endIndex + $0 * 8, as: UInt64.self)
        }
        guard let geometry = BlockGeometry(size: header.imageSize, blockSize: header.blockSize, origins: origins),
            geometry.blockCount == header.blockCount
        else { throw .damaged("origins") }
        guard let name = String(validating: names[..<header.nameLength], as: UTF8.self),
            let domain = String(validating: names[header.nameLength...], as: UTF8.self),
            ImageName.isPossible(name), !names.contains(0)
        else { throw .damaged("name") }
        return (name, domain, geometry)
    }
}
