import Block
import Index
import NIOPosix
import Peer

/// Works out the root of a disk that has been handed over, from the source's image.
struct SuppliedRoot: Sendable {
    /// What both sides have agreed on at the hand-over.
    struct Agreed: Sendable {
        /// Of all blocks but those that the destination lacked. Nobody else uses it any more.
        let manifest: FingerprintFile
        /// What it lacked; ascending.
        let missing: [Range<UInt64>]
    }

    /// Blocks that are dealt with before it is asked whether somebody still wants the root.
    private static let partBlocks: UInt64 = 1 << 16
    /// Blocks that are noted in one go.
    private static let noteBlocks: UInt64 = 1024

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
    func root(without blocks: [Range<UInt64>], agreed: Agreed) async throws -> DiskRoot {
        for part in agreed.missing.parts(of: Self.partBlocks) {
            guard isWanted() else { throw PeerError.cut }
            do {
                try await pool.runIfActive { try note(part, in: agreed.manifest) }
            } catch is FileError {
                try await noteSingly(part, in: agreed.manifest, without: blocks)
            }
        }
        return try await pool.runIfActive { try agreed.manifest.root(without: blocks) }
    }

    /// The same, where nothing is known any more of what has been agreed on. Reads all of the image.
    /// - Parameter scratch: a folder for a file.
    func root(without blocks: [Range<UInt64>], scratch: String) async throws -> DiskRoot {
        let manifest = try FingerprintFile(geometry: geometry, directory: scratch)
        let scanner = ManifestScanner(
            image: image, manifest: manifest, dirtyMap: DirtyMap(geometry: geometry), pool: pool)
        var block: UInt64 = 0
        while true {
            guard isWanted() else { throw PeerError.cut }
            do {
                switch try await scanner.step(from: block) {
                case .end: return try await pool.runIfActive { try manifest.root(without: blocks) }
                case .zeros(let range): block = range.upperBound
                case .segment(let segment): block += UInt64(segment.manifest.entries.count)
                }
            } catch is FileError {
                let end = min(geometry.blockCount, block + UInt64(ManifestSegment.maximumBlocks))
                try await noteSingly([block..<end], in: manifest, without: blocks)
                block = end
            }
        }
    }

    private func note(_ runs: [Range<UInt64>], in manifest: FingerprintFile) throws {
        let reader = BlockReader(
            image: image, geometry: geometry, maximumBytes: Int(Self.noteBlocks) * geometry.blockSize)
        for run in runs.parts(of: Self.noteBlocks).joined() {
            let fingerprints = try reader.fingerprints(of: run)
            if fingerprints.allSatisfy({ $0 == .zero }) {
                // What was never written of the file takes no room.
                try manifest.setZero(run)
            } else {
                try manifest.set(fingerprints[...], from: run.lowerBound)
            }
        }
    }

    /// Notes blocks of which at least one can't be read, which is right where it is left out.
    private func noteSingly(
        _ runs: [Range<UInt64>], in manifest: FingerprintFile, without replaced: [Range<UInt64>]
    ) async throws {
        try await pool.runIfActive {
            let reader = BlockReader(image: image, geometry: geometry, maximumBytes: geometry.blockSize)
            for run in runs {
                let replaced = replaced.filter { $0.overlaps(run) }
                let fingerprints = try run.map { block -> Fingerprint in
                    if replaced.contains(where: { $0.contains(block) }) { return .zero }
                    try reader.read(block..<block + 1)
                    return reader.fingerprint(at: 0)
                }
                try manifest.set(fingerprints[...], from: run.lowerBound)
            }
        }
    }
}
