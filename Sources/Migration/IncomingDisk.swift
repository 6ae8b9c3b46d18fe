import Block
import Glibc
import Index
import NIOCore

/// A disk that is arriving: its image, what of it is present, and what is known of its blocks.
///
/// `@unchecked Sendable`: used by one job at a time, whichever thread that runs on.
final class IncomingDisk: @unchecked Sendable {
    /// Bytes.
    private static let worthKeeping: UInt64 = 1 << 20

    private let image: RawImage
    private let hasBase: Bool
    private let geometry: BlockGeometry
    private let index: NeighbourIndex?
    private let presentMap: PresentMap
    let manifest: FingerprintFile
    private let hasher = BlockHasher()
    private let decompressor: StreamDecompressor
    private let buffer: BlockBuffer
    private var writer: RunWriter
    private var repeats: RepeatCache

    /// - Parameters:
    ///   - hasBase: the image may hold blocks of the disk already; they count where they have the fingerprint that the
    ///     source names.
    ///   - manifestPath: where the manifest is kept.
    init(image: RawImage, hasBase: Bool, geometry: BlockGeometry, index: NeighbourIndex?, manifestPath: String) throws {
        self.image = image
        self.hasBase = hasBase
        self.geometry = geometry
        self.index = index
        presentMap = PresentMap(geometry: geometry)
        manifest = try FingerprintFile(geometry: geometry, path: manifestPath, isNew: true)
        decompressor = try StreamDecompressor()
        buffer = BlockBuffer(byteCount: DataSegment.maximumBytes + geometry.blockSize)
        writer = RunWriter(image: image, geometry: geometry, presentMap: presentMap)
        repeats = RepeatCache(blocks: geometry.blockCount)
    }

    /// Looks for the blocks of a manifest segment on this disk and in the neighbours, and writes what it finds.
    /// - Returns: what is wanted from the source.
    func resolve(_ segment: ManifestSegment) throws -> Wants {
        let candidates = lookUp(segment)
        var wants = Wants(first: segment.first, wanted: [], present: 0, repeated: 0, neighbour: 0)
        var known: [Fingerprint] = []
        for (offset, entry) in segment.entries.enumerated() {
            let block = segment.first + UInt64(offset)
            let bytes = geometry.byteCount(of: block..<block + 1)
            var isWanted = false
            var found = Fingerprint.zero
            switch entry {
            case .zero:
                try clear(block..<block + 1)
            case .later:
                break
            case .fingerprint(let fingerprint):
                found = fingerprint
                if hasBase, image.holds(fingerprint, at: block, geometry, hasher) {
                    wants.present += bytes
                    try writer.flush()
                    presentMap.mark(block..<block + 1)
                    repeats.note(fingerprint, at: block)
                } else if try copyRepeat(fingerprint, to: block) {
                    wants.repeated += bytes
                } else if try copyNeighbour(candidates[offset], fingerprint, to: block) {
                    wants.neighbour += bytes
                } else {
                    found = .zero
                    isWanted = true
                }
            }
            wants.wanted.append(isWanted)
            known.append(found)
        }
        try writer.flush()
        try manifest.set(known[...], from: segment.first)
        return wants
    }

    /// Makes blocks zero; those that never held anything else stay holes.
    func clear(_ blocks: Range<UInt64>) throws {
        var start = blocks.lowerBound
        while start < blocks.upperBound {
            let isPresent = hasBase || presentMap.isPresent(start)
            var end = hasBase ? blocks.upperBound : start + 1
            while end < blocks.upperBound, presentMap.isPresent(end) == isPresent { end += 1 }
            if isPresent { try image.punch(start..<end, geometry) }
            start = end
        }
        try manifest.setZero(blocks)
        presentMap.mark(blocks)
    }

    /// Unpacks and writes blocks that came over the link.
    func store(_ segment: DataSegment, byteCount: Int) throws {
        try segment.compressed.withUnsafeReadableBytes {
            try decompressor.decompress($0, into: buffer.prefix(byteCount))
        }
        memset(buffer.bytes.baseAddress! + byteCount, 0, geometry.blockSize)
        var offset = 0
        for run in segment.runs {
            let blocks = run.first..<run.first + run.count
            let length = Int(geometry.byteCount(of: blocks))
            let bytes = geometry.bytes(of: blocks)
            try image.write(UnsafeRawBufferPointer(buffer.slice(offset, length)), at: bytes.lowerBound)
            try note(blocks, at: offset)
            presentMap.mark(blocks)
            offset += length
        }
    }

    /// The source has written these blocks again: what is here of them is old.
    func forget(_ runs: [Range<UInt64>]) throws {
        for run in runs {
            presentMap.forget(run)
            try manifest.setZero(run)
        }
    }

    /// Makes what is here durable, and gives it away for post-copy.
    /// - Returns: the root of it, with zeros for what is missing, and what is missing.
    func leave() throws -> (root: DiskRoot, missing: [Range<UInt64>]) {
        try image.synchronize()
        try manifest.synchronize()
        let missing = presentMap.missingRuns()
        return (try manifest.root(without: missing), missing)
    }

    /// Whether so much has arrived that another attempt should begin with it.
    var isWorthKeeping: Bool {
        hasBase || (geometry.blockCount - presentMap.missing()) * UInt64(geometry.blockSize) >= Self.worthKeeping
    }

    /// What has arrived.
    var present: PresentMap { presentMap }

    /// Makes what has arrived durable and brings the root up to date, so that the switchover finds little to do.
    func settle() throws {
        try image.synchronize()
        try manifest.refresh()
    }

    /// The root of what is in the image.
    /// - Throws: `MigrationError.unexpected` where blocks are missing.
    func root() throws -> DiskRoot {
        let missing = presentMap.missing()
        guard missing == 0 else { throw MigrationError.unexpected("\(missing) blocks were never sent") }
        try image.synchronize()
        return try manifest.root()
    }

    private func lookUp(_ segment: ManifestSegment) -> [Candidate?] {
        guard let index else { return Array(repeating: nil, count: segment.entries.count) }
        let wanted = segment.entries.map { entry in
            if case .fingerprint(let fingerprint) = entry { fingerprint } else { Fingerprint.zero }
        }
        let candidates = index.lookUp(wanted)
        index.willFetch(candidates)
        return candidates
    }

    private func copyRepeat(_ fingerprint: Fingerprint, to block: UInt64) throws -> Bool {
        guard let source = repeats.block(with: fingerprint) else { return false }
        if writer.holds(source) { try writer.flush() }
        let room = try writer.room(for: block)
        let bytes = geometry.bytes(of: source..<source + 1)
        let count = Int(bytes.upperBound - bytes.lowerBound)
        try image.read(into: UnsafeMutableRawBufferPointer(rebasing: room[..<count]), at: bytes.lowerBound)
        memset(room.baseAddress! + count, 0, geometry.blockSize - count)
        guard hasher.fingerprint(UnsafeRawBufferPointer(room)) == fingerprint else { return false }
        writer.add(block)
        return true
    }

    private func copyNeighbour(_ candidate: Candidate?, _ fingerprint: Fingerprint, to block: UInt64) throws
        -> Bool
    {
        guard let index, let candidate else { return false }
        let room = try writer.room(for: block)
        guard
            index.fetch(candidate, expecting: fingerprint, into: room, hasher: hasher)
                || fetchElsewhere(in: index, than: candidate, fingerprint, into: room)
        else { return false }
        writer.add(block)
        repeats.note(fingerprint, at: block)
        return true
    }

    /// Another neighbour may still have what the first has lost.
    private func fetchElsewhere(
        in index: NeighbourIndex, than candidate: Candidate, _ fingerprint: Fingerprint,
        into room: UnsafeMutableRawBufferPointer
    ) -> Bool {
        index.candidates(for: fingerprint).contains {
            $0 != candidate && index.fetch($0, expecting: fingerprint, into: room, hasher: hasher)
        }
    }

    /// Notes what blocks hold now, from their bytes at `offset` of the buffer.
    private func note(_ blocks: Range<UInt64>, at offset: Int) throws {
        var fingerprints: [Fingerprint] = []
        for position in 0..<blocks.count {
            let bytes = buffer.slice(offset + position * geometry.blockSize, geometry.blockSize)
            let fingerprint = hasher.fingerprint(UnsafeRawBufferPointer(bytes))
            fingerprints.append(fingerprint)
            repeats.note(fingerprint, at: blocks.lowerBound + UInt64(position))
        }
        try manifest.set(fingerprints[...], from: blocks.lowerBound)
    }
}
