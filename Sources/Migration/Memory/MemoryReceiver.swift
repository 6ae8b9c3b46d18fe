import MigrationCore
import MigrationProtocol
import NIOCore

/// Unpacks a memory stream at the destination: decompresses it, reads the pages that it refers to, and compares all with
/// its proof.
///
/// `@unchecked Sendable`: used by one job at a time, whichever thread that runs on.
final class MemoryReceiver: @unchecked Sendable {
    private let disks: [MemoryDisk]
    private var kept: KeptPages
    private let decompressor: StreamDecompressor
    private let unpacker: MemoryUnpacker
    /// The batch that was not what the source has.
    private var wrong: MemoryUnpacker.Unpacked?

    /// - Throws: `ZstdError`.
    init(disks: [MemoryDisk], kept: KeptPages) throws {
        self.disks = disks
        self.kept = kept
        decompressor = try StreamDecompressor(windowLog: MemoryStreamParameters.windowLog)
        unpacker = MemoryUnpacker(history: kept.capacity, blocks: disks.map(\.pages))
    }

    /// The pages so far.
    var tally: MemoryTally { unpacker.tally }

    /// Unpacks a batch.
    /// - Returns: its bytes; nil if a page that it refers to is another one here.
    /// - Throws: `MigrationError.unexpected`, `ZstdError`, `FileError`.
    func unpack(_ batch: MemoryBatch) throws -> ByteBuffer? {
        var packed = [UInt8](repeating: 0, count: batch.tokenBytes + batch.literalBytes)
        try batch.compressed.withUnsafeReadableBytes { piece in
            try packed.withUnsafeMutableBytes { try decompressor.decompress(piece, into: $0) }
        }
        var unpacked = try packed.withUnsafeBytes { try unpacker.unpack(batch, $0) }
        for read in unpacked.reads { try self.read(read, into: &unpacked.bytes) }
        // The pages that came as bytes are kept in any case: the source counts on them.
        try kept.add(unpacked)
        guard unpacker.accept(unpacked) else {
            wrong = unpacked
            return nil
        }
        return ByteBuffer(bytes: unpacked.bytes)
    }

    /// Takes the bytes of the batch that was wrong.
    /// - Parameter bytes: one zstd frame.
    /// - Throws: `MigrationError.unexpected` if they are not what the source has, either.
    func repair(_ bytes: ByteBuffer) throws -> ByteBuffer {
        guard var batch = wrong else { preconditionFailure("a repair follows a batch that was wrong") }
        let decompressor = try StreamDecompressor(windowLog: MemoryStreamParameters.windowLog)
        try bytes.withUnsafeReadableBytes { piece in
            try batch.bytes.withUnsafeMutableBytes { try decompressor.decompress(piece, into: $0) }
        }
        guard unpacker.accept(batch) else {
            throw MigrationError.unexpected("bytes of memory differ from those that the source hashed")
        }
        wrong = nil
        return ByteBuffer(bytes: batch.bytes)
    }

    /// Checks that the stream is whole.
    /// - Throws: `MigrationError.unexpected` if this side has other bytes.
    func end(byteCount: UInt64, digest: DiskRoot) throws {
        guard byteCount == unpacker.byteCount, digest.bytes == unpacker.digest else {
            throw MigrationError.unexpected("the memory that came differs from what the source has sent")
        }
    }

    private func read(_ read: MemoryUnpacker.Read, into bytes: inout [UInt8]) throws {
        switch read.place {
        case .disk(let disk, let block):
            disks[disk].read(block, count: read.count, into: &bytes, at: read.offset, stride: read.stride)
        case .sent(let first):
            try bytes.withUnsafeMutableBytes { bytes in
                for page in 0..<read.count {
                    let place = read.offset + page * read.stride
                    try kept.read(
                        first + UInt64(page),
                        into: UnsafeMutableRawBufferPointer(rebasing: bytes[place..<place + StreamPart.pageBytes]))
                }
            }
        }
    }
}
