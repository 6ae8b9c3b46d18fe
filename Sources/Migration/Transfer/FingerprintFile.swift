import Block
import BlockModel
import Glibc
import Hashing
import Index
import MigrationProtocol
import NIOConcurrencyHelpers

/// The manifest of a whole disk as far as it is known: one fingerprint a block in a sparse file, zero blocks as holes. A hash
/// over each segment is cached, so that the root costs only the segments that have changed since the last one.
///
/// The file is scratch: it is unlinked when it is made, and lives as long as this object. Memory: about 80 bytes for each
/// 4096 blocks. Any thread may use it.
final class FingerprintFile: Sendable {
    /// Blocks whose fingerprints share a hash.
    static let segmentBlocks: UInt64 = 4096
    /// Bytes of the names of missing blocks that are hashed at once.
    private static let hashedAtOnce = 64 << 10

    private struct State {
        /// nil: changed since it was last hashed.
        var hashes: [[UInt8]?]
        /// Whether a segment was ever other than all zero.
        var hasContents: [Bool]
    }

    private let file: RawImage
    private let geometry: BlockGeometry
    private let zeroHash: [UInt8]
    private let state: NIOLockedValueBox<State>

    /// A manifest that says all blocks are zero.
    /// - Parameter directory: where the scratch file is made.
    /// - Throws: `FileError`.
    convenience init(geometry: BlockGeometry, directory: String) throws {
        let path = "\(directory)/manifest-\(MigrationID()).tmp"
        try self.init(geometry: geometry, path: path, isNew: true)
        unlink(path)
    }

    /// A manifest that outlives this object, at `path`.
    /// - Parameter isNew: made anew, all zero; otherwise as an earlier life left it.
    /// - Throws: `FileError`.
    init(geometry: BlockGeometry, path: String, isNew: Bool) throws {
        self.geometry = geometry
        let size = geometry.blockCount * UInt64(Fingerprint.byteCount)
        if isNew {
            unlink(path)
            file = try RawImage.create(path: path, size: size)
        } else {
            file = try RawImage(path: path, access: .readWrite, followsLink: false)
            guard file.size == size else { throw FileError("use as the manifest of this disk", path, code: EINVAL) }
        }
        let segments = Int((geometry.blockCount + Self.segmentBlocks - 1) / Self.segmentBlocks)
        let zeros = [UInt8](repeating: 0, count: Int(Self.segmentBlocks) * Fingerprint.byteCount)
        zeroHash = zeros.withUnsafeBytes { BlockHasher().digest($0) }
        state = NIOLockedValueBox(
            State(
                hashes: .init(repeating: isNew ? zeroHash : nil, count: segments),
                hasContents: .init(repeating: !isNew, count: segments)))
    }

    /// The recorded fingerprints of consecutive blocks.
    /// - Throws: `FileError`.
    func fingerprints(of blocks: Range<UInt64>) throws -> [Fingerprint] {
        try withUnsafeTemporaryAllocation(byteCount: blocks.count * Fingerprint.byteCount, alignment: 8) { bytes in
            try read(blocks, into: bytes)
            return (0..<blocks.count).map {
                Fingerprint(bytes: UnsafeRawBufferPointer(Self.entry($0, of: bytes)))
            }
        }
    }

    /// Makes the manifest durable.
    /// - Throws: `FileError`.
    func synchronize() throws { try file.synchronize() }

    /// The root of the manifest as if these blocks were zero, with their numbers hashed in.
    /// - Throws: `FileError`.
    func root(without blocks: some Sequence<Range<UInt64>>) throws -> DiskRoot {
        try setZero(blocks)
        return try root(naming: blocks)
    }

    /// As `root(without:)`, for blocks that are recorded as zero already.
    /// - Throws: `FileError`.
    func root(naming blocks: some Sequence<Range<UInt64>>) throws -> DiskRoot {
        let root = try root()
        let hash = SHA256Stream()
        var piece = root.bytes
        var isWhole = true
        for run in blocks {
            isWhole = false
            withUnsafeBytes(of: run.lowerBound.bigEndian) { piece.append(contentsOf: $0) }
            withUnsafeBytes(of: run.upperBound.bigEndian) { piece.append(contentsOf: $0) }
            guard piece.count >= Self.hashedAtOnce else { continue }
            piece.withUnsafeBytes { hash.update($0) }
            piece.removeAll(keepingCapacity: true)
        }
        if isWhole { return root }
        piece.withUnsafeBytes { hash.update($0) }
        return DiskRoot(hash.finish())
    }

    /// Records the fingerprints of consecutive blocks.
    /// - Throws: `FileError`, with `ENOSPC` if the scratch file has no room.
    func set(_ fingerprints: ArraySlice<Fingerprint>, from first: UInt64) throws {
        guard !fingerprints.isEmpty else { return }
        // Parts of the file that were never written take no room.
        if fingerprints.allSatisfy({ $0 == .zero }) { return try setZero(first..<first + UInt64(fingerprints.count)) }
        try withUnsafeTemporaryAllocation(
            byteCount: fingerprints.count * Fingerprint.byteCount, alignment: 8
        ) { bytes in
            for (index, fingerprint) in fingerprints.enumerated() {
                fingerprint.store(into: Self.entry(index, of: bytes))
            }
            try file.write(UnsafeRawBufferPointer(bytes), at: first * UInt64(Fingerprint.byteCount))
        }
        touch(first..<first + UInt64(fingerprints.count))
    }

    /// Records that consecutive blocks are zero; writes only over other fingerprints.
    /// - Throws: `FileError`.
    func setZero(_ blocks: Range<UInt64>) throws { try setZero([blocks]) }

    /// Records that runs of blocks are zero; writes only over other fingerprints, and once for consecutive runs of a segment.
    /// Nothing may be recorded meanwhile.
    /// - Throws: `FileError`.
    func setZero(_ runs: some Sequence<Range<UInt64>>) throws {
        var parts: [Range<UInt64>] = []
        for run in runs {
            var start = run.lowerBound
            while start < run.upperBound {
                let segment = start / Self.segmentBlocks
                let end = min(run.upperBound, (segment + 1) * Self.segmentBlocks)
                if let last = parts.last, last.lowerBound / Self.segmentBlocks != segment {
                    try setZero(ofOneSegment: parts)
                    parts.removeAll(keepingCapacity: true)
                }
                parts.append(start..<end)
                start = end
            }
        }
        try setZero(ofOneSegment: parts)
    }

    private func setZero(ofOneSegment runs: [Range<UInt64>]) throws {
        guard let first = runs.first?.lowerBound,
            state.withLockedValue({ $0.hasContents[Int(first / Self.segmentBlocks)] })
        else { return }
        let span = runs.reduce(first..<first) {
            min($0.lowerBound, $1.lowerBound)..<max($0.upperBound, $1.upperBound)
        }
        let isChanged = try withUnsafeTemporaryAllocation(
            byteCount: span.count * Fingerprint.byteCount, alignment: 8
        ) { bytes in
            let offset = span.lowerBound * UInt64(Fingerprint.byteCount)
            try file.read(into: bytes, at: offset)
            var isChanged = false
            for run in runs {
                let start = Int(run.lowerBound - span.lowerBound) * Fingerprint.byteCount
                let part = UnsafeMutableRawBufferPointer(
                    rebasing: bytes[start..<start + run.count * Fingerprint.byteCount])
                if !isChanged { isChanged = part.bindMemory(to: UInt64.self).contains { $0 != 0 } }
                if isChanged { memset(part.baseAddress!, 0, part.count) }
            }
            if isChanged { try file.write(UnsafeRawBufferPointer(bytes), at: offset) }
            return isChanged
        }
        if isChanged { touch(span) }
    }

    /// Starts writing the manifest to the disk, and does not wait for that.
    func beginWritingOut() { file.beginWritingOut() }

    /// Hashes every segment that has changed since the last call. Doing it before the guest has to wait leaves little
    /// work for that moment. Nothing may be recorded meanwhile.
    /// - Throws: `FileError`.
    func refresh() throws {
        let hasher = BlockHasher()
        let stale = state.withLockedValue { state in state.hashes.indices.filter { state.hashes[$0] == nil } }
        for segment in stale {
            let hash = try hash(of: segment, hasher)
            state.withLockedValue { $0.hashes[segment] = hash }
        }
    }

    /// The root of the manifest. Nothing may be recorded meanwhile.
    /// - Throws: `FileError`.
    func root() throws -> DiskRoot {
        try refresh()
        var summary: [UInt8] = []
        withUnsafeBytes(of: geometry.size.bigEndian) { summary.append(contentsOf: $0) }
        withUnsafeBytes(of: UInt64(geometry.blockSize).bigEndian) { summary.append(contentsOf: $0) }
        state.withLockedValue { state in
            for hash in state.hashes { summary.append(contentsOf: hash ?? zeroHash) }
        }
        return DiskRoot(summary.withUnsafeBytes { BlockHasher().digest($0) })
    }

    private func touch(_ blocks: Range<UInt64>) {
        state.withLockedValue { state in
            for segment in blocks.lowerBound / Self.segmentBlocks...(blocks.upperBound - 1)
                / Self.segmentBlocks
            {
                state.hashes[Int(segment)] = nil
                state.hasContents[Int(segment)] = true
            }
        }
    }

    /// The last segment is filled up with zeros, so that every hash is over the same length.
    private func hash(of segment: Int, _ hasher: BlockHasher) throws -> [UInt8] {
        let whole = Int(Self.segmentBlocks) * Fingerprint.byteCount
        let offset = UInt64(segment) * UInt64(whole)
        return try withUnsafeTemporaryAllocation(byteCount: whole, alignment: 8) { bytes in
            let count = Int(min(UInt64(whole), file.size - offset))
            memset(bytes.baseAddress!, 0, whole)
            try file.read(into: UnsafeMutableRawBufferPointer(rebasing: bytes[..<count]), at: offset)
            return hasher.digest(UnsafeRawBufferPointer(bytes))
        }
    }

    private static func entry(_ index: Int, of bytes: UnsafeMutableRawBufferPointer)
        -> UnsafeMutableRawBufferPointer
    {
        let start = index * Fingerprint.byteCount
        return UnsafeMutableRawBufferPointer(rebasing: bytes[start..<start + Fingerprint.byteCount])
    }
}

extension FingerprintFile: FingerprintSource {
    var blockCount: UInt64 { geometry.blockCount }

    var dataBlocksLimit: UInt64 {
        let segments = state.withLockedValue { state in state.hasContents.count { $0 } }
        return min(blockCount, UInt64(segments) * Self.segmentBlocks)
    }

    func nextData(from block: UInt64) -> Range<UInt64>? {
        state.withLockedValue { state in
            guard let segment = state.hasContents[Int(block / Self.segmentBlocks)...].firstIndex(of: true) else {
                return nil
            }
            let start = UInt64(segment) * Self.segmentBlocks
            return max(block, start)..<min(blockCount, start + Self.segmentBlocks)
        }
    }

    func read(_ blocks: Range<UInt64>, into buffer: UnsafeMutableRawBufferPointer) throws {
        try file.read(into: buffer, at: blocks.lowerBound * UInt64(Fingerprint.byteCount))
    }
}
