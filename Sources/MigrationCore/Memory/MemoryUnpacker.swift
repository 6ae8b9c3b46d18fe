import Hashing
import MigrationProtocol

/// Unpacks a memory stream at the destination: rebuilds the bytes of each batch, and compares them with its proof.
///
/// Not Sendable: used by one job at a time.
package final class MemoryUnpacker {
    /// Consecutive pages that are to be read.
    package struct Read: Equatable, Sendable {
        /// The first page; those behind it follow it there.
        package let place: PagePlace
        package let count: Int
        /// Offset in the batch of the first page, and from each page to the next.
        package let offset: Int
        package let stride: Int
    }

    /// A batch whose referenced pages have not been read.
    package struct Unpacked: Sendable {
        /// The bytes of the stream, zeros in the place of referenced pages.
        package var bytes: [UInt8]
        package let reads: [Read]
        /// Offsets of the literal pages, which are to be kept.
        package let literalPages: [Int]
        fileprivate let runs: MemoryRuns
        fileprivate let expected: Fingerprint
    }

    /// Pages that are kept to be referred to.
    private let history: Int
    /// Whole pages of each disk; 0 if it can't be read here.
    private let blocks: [UInt64]
    private var reader = MemoryTokenReader()
    private var sent: UInt64 = 0
    private var proof = StreamProof()
    private let hasher = BlockHasher()
    private let hash = SHA256Stream()
    private var material: [UInt8] = []
    /// Bytes of the stream that were accepted.
    package private(set) var byteCount: UInt64 = 0
    /// The pages so far.
    package private(set) var tally = MemoryTally()

    package init(history: Int, blocks: [UInt64]) {
        self.history = history
        self.blocks = blocks
    }

    /// The proof of the whole stream so far, 32 bytes.
    package var digest: [UInt8] { proof.digest }

    /// Unpacks a batch.
    /// - Parameter packed: its tokens and literals, decompressed.
    /// - Throws: `MigrationError.unexpected`.
    package func unpack(_ batch: MemoryBatch, _ packed: UnsafeRawBufferPointer) throws -> Unpacked {
        precondition(packed.count == batch.tokenBytes + batch.literalBytes)
        let tokens = UnsafeRawBufferPointer(rebasing: packed[..<batch.tokenBytes])
        let bounds = MemoryTokenReader.Bounds(blocks: blocks, sent: SentPages.kept(of: sent, capacity: history))
        let runs = try MemoryRuns(tokens, literalBytes: batch.literalBytes, bounds: bounds, &reader)
        var layout = MemoryLayoutBuilder(
            byteCount: runs.byteCount, literals: UnsafeRawBufferPointer(rebasing: packed[batch.tokenBytes...]))
        runs.forEach { layout.add($0) }
        sent += UInt64(layout.literalPages.count)
        return Unpacked(
            bytes: layout.bytes, reads: layout.reads, literalPages: layout.literalPages, runs: runs,
            expected: batch.proof)
    }

    /// Whether a batch is what the source has, once its referenced pages have been read. If it is, the next one may follow.
    package func accept(_ batch: Unpacked) -> Bool {
        guard batch.bytes.count == batch.runs.byteCount else { return false }
        collectMaterial(of: batch)
        let next = batch.runs.tokens.withUnsafeBytes { tokens in
            material.withUnsafeBytes { proof.adding(tokens: tokens, material: $0, hash) }
        }
        guard next.prefix == batch.expected else { return false }
        proof = next
        byteCount += UInt64(batch.bytes.count)
        batch.runs.forEach { tally.add($0) }
        return true
    }

    private func collectMaterial(of batch: Unpacked) {
        material.removeAll(keepingCapacity: true)
        batch.bytes.withUnsafeBytes { bytes in
            var rest = bytes
            batch.runs.forEach { run in
                add(UnsafeRawBufferPointer(rebasing: rest[..<run.byteCount]), run)
                rest = UnsafeRawBufferPointer(rebasing: rest[run.byteCount...])
            }
        }
    }

    private func add(_ bytes: UnsafeRawBufferPointer, _ run: MemoryRun) {
        if run.source == .bytes { return material.append(contentsOf: bytes) }
        for piece in stride(from: 0, to: bytes.count, by: run.pieceBytes) {
            add(page: UnsafeRawBufferPointer(rebasing: bytes[piece..<piece + run.pieceBytes]), run)
        }
    }

    /// The bytes decide, not the run: they may have been repaired.
    private func add(page: UnsafeRawBufferPointer, _ run: MemoryRun) {
        let header = run.header.map { _ in UInt64(bigEndian: page.loadUnaligned(as: UInt64.self)) }
        let content = UnsafeRawBufferPointer(rebasing: page[(header == nil ? 0 : StreamPart.headerBytes)...])
        material.append(header: header, hasher.fingerprint(content))
    }
}
