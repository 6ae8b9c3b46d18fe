import Block
import BlockModel
import Glibc
import Hashing
import Index
import MigrationCore
import MigrationProtocol
import NIOCore

/// A disk that is arriving: its image, its present map and its manifest.
///
/// `@unchecked Sendable`: used by one job at a time, whichever thread that runs on, but for `synchronize`, which touches
/// nothing that changes.
final class IncomingDisk: @unchecked Sendable {
    let image: any DiskImage
    /// The same image with the offsets of the grid.
    let grid: any DiskImage
    /// Whether the image may hold blocks of the disk already.
    let hasBase: Bool
    let geometry: BlockGeometry
    let index: NeighbourIndex?
    let shared: SharedBlocks.Member
    let presentMap: PresentMap
    let manifest: FingerprintFile
    let hasher = BlockHasher()
    let origins: BlockOrigins
    private let stream: ArrivingStream
    var writer: RunWriter
    var repeats: RepeatCache
    /// The blocks that the source has named as written again.
    private var named: BlockSet
    /// Whether blocks that are not present may read as something else than zeros.
    private var hasOldBytes: Bool

    /// - Parameters:
    ///   - hasBase: the image may hold blocks of the disk already; they count where they have the fingerprint that the
    ///     source names.
    ///   - isBlank: the image reads as zeros where nothing of the disk has been written.
    ///   - shared: blocks that have come for other disks.
    ///   - manifestPath: the manifest's file.
    ///   - origins: learns of each block where it came from.
    init(
        image: any DiskImage, hasBase: Bool, isBlank: Bool = true, geometry: BlockGeometry, index: NeighbourIndex?,
        shared: SharedBlocks.Member, manifestPath: String, origins: BlockOrigins? = nil
    ) throws {
        self.origins = origins ?? BlockOrigins(geometry: geometry)
        self.image = image
        grid = image.on(geometry)
        self.hasBase = hasBase
        hasOldBytes = hasBase || !isBlank
        self.geometry = geometry
        self.index = index
        self.shared = shared
        named = BlockSet(of: geometry.blockCount)
        presentMap = PresentMap(geometry: geometry)
        manifest = try FingerprintFile(geometry: geometry, path: manifestPath, isNew: true)
        stream = try ArrivingStream(blockSize: geometry.blockSize)
        writer = RunWriter(image: image, geometry: geometry, presentMap: presentMap)
        repeats = RepeatCache(blocks: geometry.blockCount)
    }

    /// Marks the groups of a summary as present that the image holds already.
    /// - Returns: the groups that are something else here.
    func compare(_ summary: ManifestSummary) throws -> ManifestDifferences {
        guard hasBase else { return .all(of: summary) }
        try writer.flush()
        return try image.compare(summary, geometry, hasher) { blocks, known in
            presentMap.mark(blocks)
            origins.record(blocks, from: .present)
            try manifest.set(known[...], from: blocks.lowerBound)
            repeats.note(known, from: blocks.lowerBound)
        }
    }

    /// Makes blocks zero; those that never held anything else stay holes.
    func clear(_ blocks: Range<UInt64>) throws {
        try empty(blocks)
        try manifest.setZero(blocks)
    }

    /// Makes the image hold nothing but zeros in blocks.
    func empty(_ blocks: Range<UInt64>) throws {
        guard !blocks.isEmpty else { return }
        if hasOldBytes {
            try image.punch(blocks, geometry)
        } else {
            for run in presentMap.presentRuns(in: blocks) { try image.punch(run, geometry) }
        }
        presentMap.mark(blocks)
        origins.record(blocks, from: .zero)
    }

    /// Unpacks and writes blocks that came over the link.
    /// - Parameter byteCount: of the blocks that it names.
    func store(_ segment: DataSegment, byteCount: Int) throws {
        try stream.unpack(segment, byteCount: byteCount, write)
    }

    /// Lets blocks that come refer to `prefix`.
    func use(_ prefix: StreamPrefix) { stream.use(prefix) }

    private func write(_ runs: [BlockRange], _ buffer: BlockBuffer) throws {
        var offset = 0
        for run in runs {
            let blocks = run.first..<run.first + run.count
            let length = Int(geometry.byteCount(of: blocks))
            let bytes = geometry.bytes(of: blocks)
            try grid.write(UnsafeRawBufferPointer(buffer.slice(offset, length)), at: bytes.lowerBound)
            try recordFingerprints(of: blocks, buffer, at: offset)
            presentMap.mark(blocks)
            origins.record(blocks, from: .link)
            offset += length
        }
    }

    /// Marks blocks as missing that the source has written again.
    func markDirty(_ runs: [Range<UInt64>]) throws {
        named.formUnion(runs)
        try forget(runs)
        // A guest may wait for that soon.
        manifest.beginWritingOut()
    }

    /// Marks blocks as missing: the image holds old ones.
    private func forget(_ runs: [Range<UInt64>]) throws {
        if !runs.isEmpty { hasOldBytes = true }
        for run in runs { presentMap.forget(run) }
        try manifest.setZero(runs)
    }

    /// Ends the copying before the switchover: nothing comes any more.
    /// - Returns: the missing blocks, and whether these are the ones that the source has named.
    func leave() throws -> (missing: BitRuns, isNamed: Bool) {
        shared.withdrawPromises()
        try forget(stream.awaited)
        let missing = presentMap.allMissing
        return (missing, missing.elementsEqual(named))
    }

    /// The root of the blocks that are here, with zeros for the missing ones, whose numbers are hashed in.
    func root(naming missing: BitRuns) throws -> DiskRoot { try manifest.root(naming: missing) }

    /// Makes the image and the manifest durable; may run while another job works out the root.
    func synchronizeAll() throws {
        image.beginWritingOut()
        try manifest.synchronize()
        try image.synchronize()
    }

    /// Whether nothing of it is missing.
    var isWhole: Bool { presentMap.missing() == 0 }

    /// The part that has come.
    /// - Parameters:
    ///   - comesAgain: the source will be back.
    ///   - isKept: the image is kept for it, however little has come.
    func left(comesAgain: Bool, isKept: Bool) -> LeftCopy {
        // The next attempt reads and hashes what a server still has.
        image.forgetLosses()
        return LeftCopy(
            comesAgain: comesAgain, isSound: image.flushFailure == nil, hasBase: hasBase || isKept,
            present: (geometry.blockCount - presentMap.missing()) * UInt64(geometry.blockSize))
    }

    /// The blocks that have arrived.
    var present: PresentMap { presentMap }

    /// Ends a round, and brings the root up to date, so that the switchover finds little to do.
    func finishRound() throws {
        try stream.endRound()
        shared.withdrawPromises()
        try manifest.refresh()
    }

    /// Makes the image durable; may run while another job uses the disk.
    func synchronize() throws { try image.synchronize() }

    /// The root of the image.
    /// - Throws: `MigrationError.unexpected` if blocks are missing.
    func root() throws -> DiskRoot {
        try stream.endRound()
        let missing = presentMap.missing()
        guard missing == 0 else { throw MigrationError.unexpected("\(missing) blocks were never sent") }
        // If the source has ended the last round, there is nothing more to write.
        try image.synchronize()
        return try manifest.root()
    }

    /// Records the fingerprints of blocks, whose bytes stand at `offset` of a buffer.
    private func recordFingerprints(of blocks: Range<UInt64>, _ buffer: BlockBuffer, at offset: Int) throws {
        var fingerprints: [Fingerprint] = []
        for position in 0..<blocks.count {
            let bytes = buffer.slice(offset + position * geometry.blockSize, geometry.blockSize)
            fingerprints.append(hasher.fingerprint(UnsafeRawBufferPointer(bytes)))
        }
        repeats.note(fingerprints, from: blocks.lowerBound)
        shared.add(fingerprints, from: blocks.lowerBound)
        try manifest.set(fingerprints[...], from: blocks.lowerBound)
    }
}
