import Block
import BlockModel
import Hashing
import Index
import MigrationProtocol
import NIOPosix
import Peer

/// Computes the root of a disk that has been switched over, from the source's image.
struct SourceRootHash: Sendable {
    /// The state of the disk on which both sides have agreed at the switchover.
    struct Agreed: Sendable {
        /// The fingerprints of all blocks but those that the destination lacked. Nobody else uses the file any more.
        let manifest: FingerprintFile
        /// The blocks that it lacked.
        let missing: BlockSet

        init(manifest: FingerprintFile, missing: BlockSet) {
            self.manifest = manifest
            self.missing = missing
        }

        /// A state of which nothing is known any more, so that all of the image is read.
        /// - Parameter scratch: a folder for a file.
        /// - Throws: `FileError`.
        init(forgotten geometry: BlockGeometry, scratch: String) throws {
            manifest = try FingerprintFile(geometry: geometry, directory: scratch)
            missing = BlockSet(CollectionOfOne(0..<geometry.blockCount), of: geometry.blockCount)
        }
    }

    /// Bytes of blocks between two questions whether somebody still wants the root.
    private static let partBytes = 16 << 20
    /// Bytes of blocks that are read and hashed at once.
    private static let recordBytes = 4 << 20

    let image: any DiskImage
    let geometry: BlockGeometry
    let pool: NIOThreadPool
    /// Whether somebody still wants the root. It takes as long as reading the blocks that the destination lacked.
    let isWanted: @Sendable () -> Bool

    /// Computes the root without some blocks, which need not be readable. It reads the blocks that the destination lacked; the
    /// others have been compared at the switchover.
    /// - Parameters:
    ///   - blocks: count as zeros.
    ///   - agreed: its manifest is brought up to date.
    /// - Throws: `FileError`; `PeerError.cut` if nobody wants the root any more.
    func root(without blocks: BlockSet, agreed: Agreed) async throws -> DiskRoot {
        for part in RunParts(agreed.missing, of: UInt64(Self.partBytes / geometry.blockSize)) {
            guard isWanted() else { throw PeerError.cut }
            try await pool.runIfActive { try record(part, in: agreed.manifest, without: blocks) }
        }
        return try await pool.runIfActive { try agreed.manifest.root(without: blocks) }
    }

    private func record(
        _ runs: [Range<UInt64>], in manifest: FingerprintFile, without replaced: BlockSet
    ) throws {
        let reader = BlockReader(image: image, geometry: geometry, maximumBytes: Self.recordBytes)
        for run in runs.parts(of: UInt64(Self.recordBytes / geometry.blockSize)).joined() {
            do {
                let fingerprints = try reader.fingerprints(of: run)
                if fingerprints.allSatisfy({ $0 == .zero }) {
                    // The manifest stays sparse.
                    try manifest.setZero(run)
                } else {
                    try manifest.set(fingerprints[...], from: run.lowerBound)
                }
            } catch is FileError {
                try recordSingly(run, in: manifest, without: replaced)
            }
        }
    }

    /// Records blocks of which at least one can't be read. That is an error only for blocks that are not left out.
    private func recordSingly(
        _ blocks: Range<UInt64>, in manifest: FingerprintFile, without replaced: BlockSet
    ) throws {
        let reader = BlockReader(image: image, geometry: geometry, maximumBytes: geometry.blockSize)
        let fingerprints = try blocks.map { block -> Fingerprint in
            if replaced.contains(block) { return .zero }
            try reader.read(block..<block + 1)
            return reader.fingerprint(at: 0)
        }
        try manifest.set(fingerprints[...], from: blocks.lowerBound)
    }
}
