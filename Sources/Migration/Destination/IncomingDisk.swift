import Block
import BlockModel
import Glibc
import Hashing
import Index
import MigrationCore
import MigrationProtocol
import NIOCore

/// A disk that is arriving: its image, what of it is present, and what is known of its blocks.
///
/// `@unchecked Sendable`: used by one job at a time, whichever thread that runs on, but for `synchronize`, which touches nothing
/// that changes.
final class IncomingDisk: @unchecked Sendable {
    /// Bytes.
    private static let worthKeeping: UInt64 = 1 << 20

    private let image: RawImage
    /// Whether the image may hold blocks of the disk already.
    let hasBase: Bool
    private let geometry: BlockGeometry
    private let index: NeighbourIndex?
    private let shared: SharedBlocks.Member
    private let presentMap: PresentMap
    let manifest: FingerprintFile
    private let hasher = BlockHasher()
    private let stream: ArrivingStream
    private var writer: RunWriter
    private var repeats: RepeatCache
    /// What the source has said that it has written again.
    private var named: BlockSet

    /// - Parameters:
    ///   - hasBase: the image may hold blocks of the disk already; they count where they have the fingerprint that the
    ///     source names.
    ///   - shared: what has come for other disks.
    ///   - manifestPath: where the manifest is kept.
    init(
        image: RawImage, hasBase: Bool, geometry: BlockGeometry, index: NeighbourIndex?, shared: SharedBlocks.Member,
        manifestPath: String
    ) throws {
        self.image = image
        self.hasBase = hasBase
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

    /// Looks for the blocks of a manifest segment on this disk and in the neighbours, and writes what it finds.
    /// - Returns: what is wanted from the source.
    func resolve(_ segment: ManifestSegment) throws -> Wants {
        let candidates = lookUp(segment)
        let others = shared.places(of: segment.prefixes)
        var promises: [UInt64] = []
        var wants = Wants(first: segment.first, wanted: [], present: 0, repeated: 0, neighbour: 0)
        var known: [Fingerprint] = []
        var found: [Fingerprint] = []
        try clearZeros(of: segment)
        for (offset, entry) in segment.entries.enumerated() {
            let block = segment.first + UInt64(offset)
            let bytes = geometry.byteCount(of: block..<block + 1)
            var fingerprint: Fingerprint?
            var isWanted = false
            switch entry {
            case .zero, .later:
                break
            case .prefix(let prefix):
                if let present = try findPresent(prefix, at: block) {
                    fingerprint = present
                    wants.present += bytes
                } else if let repeated = try copyRepeat(prefix, to: block) {
                    fingerprint = repeated
                    wants.repeated += bytes
                } else if let copied = try copyNeighbour(candidates[offset], prefix, to: block)
                    ?? copyShared(others[offset], prefix, to: block)
                {
                    fingerprint = copied
                    wants.neighbour += bytes
                }
                if let fingerprint {
                    found.append(fingerprint)
                } else {
                    isWanted = true
                    promises.append(prefix)
                }
            }
            wants.wanted.append(isWanted)
            known.append(fingerprint ?? .zero)
        }
        shared.promise(promises)
        wants.check = Fingerprint.combined(found)
        try writer.flush()
        try manifest.set(known[...], from: segment.first)
        return wants
    }

    /// Takes what the image has already of the groups of a summary.
    /// - Returns: which of them are something else here.
    func compare(_ summary: ManifestSummary) throws -> ManifestDifferences {
        guard hasBase else { return .all(of: summary) }
        try writer.flush()
        return try image.compare(summary, geometry, hasher) { blocks, known in
            presentMap.mark(blocks)
            try manifest.set(known[...], from: blocks.lowerBound)
            repeats.note(known, from: blocks.lowerBound)
        }
    }

    /// Makes blocks zero; those that never held anything else stay holes.
    func clear(_ blocks: Range<UInt64>) throws {
        try empty(blocks)
        try manifest.setZero(blocks)
    }

    /// Makes the blocks of a segment zero of which it says so, but for what the manifest notes of them.
    private func clearZeros(of segment: ManifestSegment) throws {
        var start: UInt64?
        for (block, entry) in zip(segment.first..., segment.entries + [.later]) {
            if entry == .zero {
                start = start ?? block
            } else if let zeros = start {
                try empty(zeros..<block)
                start = nil
            }
        }
    }

    /// Makes the image hold nothing but zeros in blocks.
    private func empty(_ blocks: Range<UInt64>) throws {
        var start = blocks.lowerBound
        while start < blocks.upperBound {
            let isPresent = hasBase || presentMap.isPresent(start)
            var end = hasBase ? blocks.upperBound : start + 1
            while end < blocks.upperBound, presentMap.isPresent(end) == isPresent { end += 1 }
            if isPresent { try image.punch(start..<end, geometry) }
            start = end
        }
        presentMap.mark(blocks)
    }

    /// Unpacks and writes what came over the link.
    /// - Parameter byteCount: of the blocks that it names.
    func store(_ segment: DataSegment, byteCount: Int) throws {
        try stream.take(segment, byteCount: byteCount, write)
    }

    private func write(_ runs: [BlockRange], _ buffer: BlockBuffer) throws {
        var offset = 0
        for run in runs {
            let blocks = run.first..<run.first + run.count
            let length = Int(geometry.byteCount(of: blocks))
            let bytes = geometry.bytes(of: blocks)
            try image.write(UnsafeRawBufferPointer(buffer.slice(offset, length)), at: bytes.lowerBound)
            try note(blocks, buffer, at: offset)
            presentMap.mark(blocks)
            offset += length
        }
    }

    /// The source has written these blocks again.
    func note(dirty runs: [Range<UInt64>]) throws {
        named.formUnion(runs)
        try forget(runs)
        // A guest may wait for that soon.
        manifest.beginWritingOut()
    }

    /// What is here of these blocks is old.
    private func forget(_ runs: [Range<UInt64>]) throws {
        for run in runs { presentMap.forget(run) }
        try manifest.setZero(runs)
    }

    /// Gives what is here away for post-copy: nothing comes any more.
    /// - Returns: what is missing, and whether that is what the source has named.
    func leave() throws -> (missing: BitRuns, isNamed: Bool) {
        shared.withdrawPromises()
        try forget(stream.awaited)
        let missing = presentMap.allMissing
        return (missing, missing.elementsEqual(named))
    }

    /// The root of what is here, with zeros for what is missing, which is named.
    func root(naming missing: BitRuns) throws -> DiskRoot { try manifest.root(naming: missing) }

    /// Makes what is here durable, and what is known of it; may be done while another job works out the root.
    func synchronizeAll() throws {
        image.beginWritingOut()
        try manifest.synchronize()
        try image.synchronize()
    }

    /// Whether nothing of it is missing.
    var isWhole: Bool { presentMap.missing() == 0 }

    /// Whether another attempt may begin with it: what could not be made durable may be gone, though the page cache shows it.
    var mayBeKept: Bool { image.flushFailure == nil }

    /// Whether so much has arrived that another attempt should begin with it.
    var isWorthKeeping: Bool {
        mayBeKept
            && (hasBase
                || (geometry.blockCount - presentMap.missing()) * UInt64(geometry.blockSize) >= Self.worthKeeping)
    }

    /// What has arrived.
    var present: PresentMap { presentMap }

    /// Whether blocks of a segment have been asked for already, for another disk.
    func mayComeSoon(_ segment: ManifestSegment) -> Bool { shared.mayComeSoon(segment.prefixes) }

    /// Ends a round, and brings the root up to date, so that the switchover finds little to do.
    func settle() throws {
        try stream.endRound()
        shared.withdrawPromises()
        try manifest.refresh()
    }

    /// Makes what has arrived durable; may be done while another job uses the disk.
    func synchronize() throws { try image.synchronize() }

    /// The root of what is in the image.
    /// - Throws: `MigrationError.unexpected` where blocks are missing.
    func root() throws -> DiskRoot {
        try stream.endRound()
        let missing = presentMap.missing()
        guard missing == 0 else { throw MigrationError.unexpected("\(missing) blocks were never sent") }
        // Of a source that ends the last round first, there is nothing more to write.
        try image.synchronize()
        return try manifest.root()
    }

    private func lookUp(_ segment: ManifestSegment) -> [Candidate?] {
        guard let index else { return Array(repeating: nil, count: segment.entries.count) }
        let candidates = index.lookUp(prefixes: segment.prefixes)
        index.willFetch(candidates)
        return candidates
    }

    private func findPresent(_ prefix: UInt64, at block: UInt64) throws -> Fingerprint? {
        guard hasBase, let fingerprint = image.fingerprint(of: block, geometry, hasher), fingerprint.high == prefix
        else { return nil }
        try writer.flush()
        presentMap.mark(block..<block + 1)
        repeats.note(prefix, at: block)
        return fingerprint
    }

    private func copyRepeat(_ prefix: UInt64, to block: UInt64) throws -> Fingerprint? {
        guard let source = repeats.block(with: prefix) else { return nil }
        if writer.holds(source) { try writer.flush() }
        let room = try writer.room(for: block)
        let bytes = geometry.bytes(of: source..<source + 1)
        let count = Int(bytes.upperBound - bytes.lowerBound)
        try image.read(into: UnsafeMutableRawBufferPointer(rebasing: room[..<count]), at: bytes.lowerBound)
        memset(room.baseAddress! + count, 0, geometry.blockSize - count)
        let fingerprint = hasher.fingerprint(UnsafeRawBufferPointer(room))
        guard fingerprint.high == prefix else { return nil }
        writer.add(block)
        return fingerprint
    }

    private func copyNeighbour(_ candidate: Candidate?, _ prefix: UInt64, to block: UInt64) throws -> Fingerprint? {
        guard let index, let candidate else { return nil }
        let room = try writer.room(for: block)
        let fingerprint =
            index.fetch(candidate, prefix: prefix, into: room, hasher: hasher)
            ?? fetchElsewhere(in: index, than: candidate, prefix, into: room)
        guard let fingerprint else { return nil }
        writer.add(block)
        repeats.note(prefix, at: block)
        return fingerprint
    }

    private func copyShared(_ place: SharedBlocks.Place?, _ prefix: UInt64, to block: UInt64) throws -> Fingerprint? {
        guard let place else { return nil }
        let room = try writer.room(for: block)
        // Only now: an image that is held can't be opened by who takes its migration up again.
        guard let image = shared.image(of: place),
            let fingerprint = image.fingerprint(of: place.block, place.geometry, hasher, into: room),
            fingerprint.high == prefix
        else { return nil }
        writer.add(block)
        repeats.note(prefix, at: block)
        return fingerprint
    }

    /// Another neighbour may still have what the first has lost.
    private func fetchElsewhere(
        in index: NeighbourIndex, than candidate: Candidate, _ prefix: UInt64, into room: UnsafeMutableRawBufferPointer
    ) -> Fingerprint? {
        for other in index.candidates(prefix: prefix) where other != candidate {
            if let fingerprint = index.fetch(other, prefix: prefix, into: room, hasher: hasher) { return fingerprint }
        }
        return nil
    }

    /// Notes what blocks hold now, from their bytes at `offset` of a buffer.
    private func note(_ blocks: Range<UInt64>, _ buffer: BlockBuffer, at offset: Int) throws {
        var fingerprints: [Fingerprint] = []
        for position in 0..<blocks.count {
            let bytes = buffer.slice(offset + position * geometry.blockSize, geometry.blockSize)
            fingerprints.append(hasher.fingerprint(UnsafeRawBufferPointer(bytes)))
        }
        repeats.note(fingerprints, from: blocks.lowerBound)
        shared.note(fingerprints, from: blocks.lowerBound)
        try manifest.set(fingerprints[...], from: blocks.lowerBound)
    }
}
