import Block
import Index
import NIOPosix

/// Goes over the whole disk once and tells what every block is: a hole or zero, a fingerprint, or still being written.
struct ManifestScanner: Sendable {
    /// One step of the scan.
    enum Step: Sendable {
        case zeros(Range<UInt64>)
        case segment(ScannedSegment)
        case end
    }

    private static let segmentBytes = 4 << 20

    private let reader: BlockReader
    private let manifest: FingerprintFile
    private let dirtyMap: DirtyMap
    private let pool: NIOThreadPool
    private let compressibility: Compressibility?

    /// - Parameter compressibility: nil where nobody asks for samples.
    init(
        image: RawImage, manifest: FingerprintFile, dirtyMap: DirtyMap, pool: NIOThreadPool,
        compressibility: Compressibility? = nil
    ) {
        self.compressibility = compressibility
        reader = BlockReader(image: image, geometry: dirtyMap.geometry, maximumBytes: Self.segmentBytes)
        self.manifest = manifest
        self.dirtyMap = dirtyMap
        self.pool = pool
    }

    /// The most blocks of one segment.
    var segmentBlocks: Int { min(ManifestSegment.maximumBlocks, Self.segmentBytes / dirtyMap.geometry.blockSize) }

    /// What stands from `block` on; a step covers at least one block.
    func step(from block: UInt64) async throws -> Step {
        try await pool.runIfActive { try look(from: block) }
    }

    private func look(from block: UInt64) throws -> Step {
        let end = dirtyMap.geometry.blockCount
        guard block < end else { return .end }
        guard let data = try reader.nextData(from: block) else { return .zeros(block..<end) }
        guard data.lowerBound <= block else { return .zeros(block..<data.lowerBound) }
        return try segment(block..<min(data.upperBound, block + UInt64(segmentBlocks)))
    }

    private func segment(_ blocks: Range<UInt64>) throws -> Step {
        try reader.read(blocks)
        var entries: [ManifestSegment.Entry] = []
        var fingerprints: [Fingerprint] = []
        entries.reserveCapacity(blocks.count)
        fingerprints.reserveCapacity(blocks.count)
        var zeroBytes: UInt64 = 0
        for block in blocks {
            // What the guest writes just now will be sent later anyway: naming it now would be for nothing.
            if dirtyMap.isDirty(block) {
                entries.append(.later)
                fingerprints.append(.zero)
                continue
            }
            let fingerprint = reader.fingerprint(at: entries.count * dirtyMap.geometry.blockSize)
            entries.append(fingerprint == .zero ? .zero : .prefix(fingerprint.high))
            fingerprints.append(fingerprint)
            if fingerprint == .zero { zeroBytes += dirtyMap.geometry.byteCount(of: block..<block + 1) }
        }
        try manifest.set(fingerprints[...], from: blocks.lowerBound)
        return .segment(
            ScannedSegment(
                manifest: ManifestSegment(first: blocks.lowerBound, entries: entries), fingerprints: fingerprints,
                zeroBytes: zeroBytes,
                samples: compressibility?.samples(
                    of: reader.bytes(blocks.count * dirtyMap.geometry.blockSize), from: blocks.lowerBound,
                    blockSize: dirtyMap.geometry.blockSize) ?? CompressionSamples()))
    }
}
