import Block
import BlockModel
import Hashing
import Index
import MigrationCore
import MigrationProtocol
import NIOPosix

/// Goes over the whole disk once and describes every block: a hole or zero, a fingerprint, or still being written.
struct ManifestScanner: Sendable {
    /// One step of the scan.
    enum Step: Sendable {
        case zeros(Range<UInt64>)
        case segment(ScannedSegment)
        case end
    }

    private static let segmentBytes = 4 << 20
    /// The longest hole inside a segment, in blocks. Naming each of its blocks as zero costs less than a further
    /// segment and its answer. An image written at random has a hole behind nearly every block.
    private static let smallHole: UInt64 = 256

    private let reader: BlockReader
    private let manifest: FingerprintFile
    private let dirtyMap: DirtyMap
    private let pool: NIOThreadPool
    private let compressibility: Compressibility?

    /// - Parameter compressibility: takes samples; nil for none.
    init(
        image: any DiskImage, manifest: FingerprintFile, dirtyMap: DirtyMap, pool: NIOThreadPool,
        compressibility: Compressibility? = nil
    ) {
        self.compressibility = compressibility
        reader = BlockReader(image: image, geometry: dirtyMap.geometry, maximumBytes: Self.segmentBytes)
        self.manifest = manifest
        self.dirtyMap = dirtyMap
        self.pool = pool
    }

    /// The most blocks of one segment.
    var segmentBlocks: Int { min(ManifestSegment.maximumBlocks, Self.segmentBytes / geometry.blockSize) }

    /// Describes the blocks from `block` on; a step covers at least one block.
    func step(from block: UInt64) async throws -> Step {
        try await pool.runIfActive { try look(from: block) }
    }

    private func look(from block: UInt64) throws -> Step {
        let end = geometry.blockCount
        guard block < end else { return .end }
        guard let data = try reader.nextData(from: block) else { return .zeros(block..<end) }
        guard data.lowerBound <= block else { return .zeros(block..<data.lowerBound) }
        return try segment(runs(from: block, data: data))
    }

    /// The runs that may hold data from `block` on, within one segment; only small holes are between.
    /// - Parameter data: the first of them, which contains `block`.
    private func runs(from block: UInt64, data: Range<UInt64>) throws -> [Range<UInt64>] {
        let end = block + UInt64(segmentBlocks)
        var runs = [block..<min(data.upperBound, end)]
        while let last = runs.last?.upperBound, last < end, let next = try reader.nextData(from: last) {
            // Data need not begin where a block does.
            let start = max(last, next.lowerBound)
            guard start < end, start - last <= Self.smallHole else { break }
            runs.append(start..<min(next.upperBound, end))
        }
        return runs
    }

    private func segment(_ runs: [Range<UInt64>]) throws -> Step {
        let span = runs[0].lowerBound..<runs[runs.count - 1].upperBound
        var segment = Segment(first: span.lowerBound, capacity: span.count)
        var read: [UInt64] = []
        read.reserveCapacity(runs.reduce(0) { $0 + $1.count })
        for run in runs {
            segment.addHole(run.lowerBound - segment.end, geometry)
            try reader.read(run, at: read.count * geometry.blockSize)
            for block in run {
                // A block that the guest is writing will be sent later anyway: naming it now would be in vain.
                segment.add(
                    dirtyMap.isDirty(block) ? nil : reader.fingerprint(at: read.count * geometry.blockSize), geometry)
                read.append(block)
            }
        }
        try manifest.set(segment.fingerprints[...], from: span.lowerBound)
        let samples = compressibility?.samples(
            of: reader.bytes(read.count * geometry.blockSize), blocks: read, blockSize: geometry.blockSize)
        return .segment(segment.scanned(with: samples ?? CompressionSamples()))
    }

    private var geometry: BlockGeometry { dirtyMap.geometry }
}

/// A segment that is being scanned.
private struct Segment {
    let first: UInt64
    private(set) var fingerprints: [Fingerprint] = []
    private var entries: [ManifestSegment.Entry] = []
    private var zeroBytes: UInt64 = 0

    init(first: UInt64, capacity: Int) {
        self.first = first
        entries.reserveCapacity(capacity)
        fingerprints.reserveCapacity(capacity)
    }

    /// The block behind it.
    var end: UInt64 { first + UInt64(entries.count) }

    mutating func addHole(_ count: UInt64, _ geometry: BlockGeometry) {
        zeroBytes += geometry.byteCount(of: end..<end + count)
        entries.append(contentsOf: repeatElement(.zero, count: Int(count)))
        fingerprints.append(contentsOf: repeatElement(.zero, count: Int(count)))
    }

    /// - Parameter fingerprint: nil for a block that comes later.
    mutating func add(_ fingerprint: Fingerprint?, _ geometry: BlockGeometry) {
        if fingerprint == .zero { zeroBytes += geometry.byteCount(of: end..<end + 1) }
        entries.append(fingerprint.map { $0 == .zero ? .zero : .prefix($0.high) } ?? .later)
        fingerprints.append(fingerprint ?? .zero)
    }

    func scanned(with samples: CompressionSamples) -> ScannedSegment {
        ScannedSegment(
            manifest: ManifestSegment(first: first, entries: entries), fingerprints: fingerprints,
            zeroBytes: zeroBytes, samples: samples)
    }
}
