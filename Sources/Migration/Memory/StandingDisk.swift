import Block
import BlockModel
import MigrationCore
import MigrationProtocol
import NIOPosix

/// A disk of a guest that both nodes serve under one name. What the destination has of it is not known, and is told by the
/// hashes of its blocks.
public struct StandingDisk: Sendable {
    /// The export's name at both nodes.
    public let name: String
    /// The disk's file here.
    public let image: any DiskImage

    /// Names a disk.
    public init(name: String, image: any DiskImage) {
        self.name = name
        self.image = image
    }

    /// Reads and hashes the whole disk.
    /// - Parameter directory: for a scratch file.
    /// - Throws: `FileError`; `CancellationError`.
    func scan(in directory: String, on pool: NIOThreadPool) async throws -> AgreedDisk {
        guard let geometry = BlockGeometry(size: image.size, blockSize: StreamPart.pageBytes) else {
            throw MigrationError.impossibleHere("\(name) is empty; leave it out")
        }
        let manifest = try FingerprintFile(geometry: geometry, directory: directory)
        let map = DirtyMap(geometry: geometry)
        let scanner = ManifestScanner(image: image, manifest: manifest, dirtyMap: map, pool: pool)
        var block: UInt64 = 0
        while block < geometry.blockCount {
            try Task.checkCancellation()
            switch try await scanner.step(from: block) {
            case .zeros(let blocks): block = blocks.upperBound
            case .segment(let segment): block += UInt64(segment.manifest.entries.count)
            case .end: block = geometry.blockCount
            }
        }
        let disk = AgreedDisk(name: .export(name), manifest: manifest, dirtyMap: map)
        disk.confirm()
        return disk
    }
}
