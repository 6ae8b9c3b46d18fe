import Block
import BlockModel
import Hashing
import Index
import MigrationProtocol
import NIOPosix
import Peer

/// Works out the root of a disk that has been handed over, from the source's image.
struct SuppliedRoot: Sendable {
    /// What both sides have agreed on at the hand-over.
    struct Agreed: Sendable {
        /// Of all blocks but those that the destination lacked. Nobody else uses it any more.
        let manifest: FingerprintFile
        /// What it lacked; ascending.
        let missing: BlockSet

        init(manifest: FingerprintFile, missing: BlockSet) {
            self.manifest = manifest
            self.missing = missing
        }

        /// Where nothing is known any more of what has been agreed on: all of the image is read.
        /// - Parameter scratch: a folder for a file.
        /// - Throws: `FileError`.
        init(forgotten geometry: BlockGeometry, scratch: String) throws {
            manifest = try FingerprintFile(geometry: geometry, directory: scratch)
            missing = BlockSet(CollectionOfOne(0..<geometry.blockCount), of: geometry.blockCount)
        }
    }

    /// Bytes of blocks that are dealt with before it is asked whether somebody still wants the root.
    private static let partBytes = 16 << 20
    /// Bytes of blocks that are noted in one go.
    private static let noteBytes = 4 << 20

    let image: RawImage
    let geometry: BlockGeometry
    let pool: NIOThreadPool
    /// Whether somebody still wants it: it takes as long as reading what is read.
    let isWanted: @Sendable () -> Bool

    /// The root without some blocks, which need not be readable. Reads what the destination lacked: the rest has been compared.
    /// - Parameters:
    ///   - blocks: ascending.
    ///   - agreed: is brought up to date.
    /// - Throws: `FileError`; `PeerError.cut` where nobody wants it any more.
    func root(without blocks: BlockSet, agreed: Agreed) async throws -> DiskRoot {
        for part in RunParts(agreed.missing, of: UInt64(Self.partBytes / geometry.blockSize)) {
            guard isWanted() else { throw PeerError.cut }
            try await pool.runIfActive { try note(part, in: agreed.manifest, without: blocks) }
        }
        return try await pool.runIfActive { try agreed.manifest.root(without: blocks) }
    }

    private func note(
        _ runs: [Range<UInt64>], in manifest: FingerprintFile, without replaced: BlockSet
    ) throws {
        let reader = BlockReader(image: image, geometry: geometry, maximumBytes: Self.noteBytes)
        for run in runs.parts(of: UInt64(Self.noteBytes / geometry.blockSize)).joined() {
            do {
                let fingerprints = try reader.fingerprints(of: run)
                if fingerprints.allSatisfy({ $0 == .zero }) {
                    // What was never written of the file takes no room.
                    try manifest.setZero(run)
                } else {
                    try manifest.set(fingerprints[...], from: run.lowerBound)
                }
            } catch is FileError {
                try noteSingly(run, in: manifest, without: replaced)
            }
        }
    }

    /// Notes blocks of which at least one can't be read, which is right where it is left out.
    private func noteSingly(
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
