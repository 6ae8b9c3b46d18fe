import Hashing
import NIOCore
import TestSupport

@testable import MigrationCore
@testable import MigrationProtocol

/// A packer and an unpacker with a model of the disks and of the pages that are kept.
struct MemoryPair {
    typealias Page = MadeStream.Page

    let packer: MemoryPacker
    let unpacker: MemoryUnpacker
    /// The blocks of each disk at the source.
    let places: [Fingerprint: (disk: Int, block: UInt64)]
    /// The blocks of each disk at the destination.
    var disks: [[Page]]
    private let history: Int
    private var kept: [Page] = []
    /// Bytes that the destination has given to its hypervisor.
    private(set) var delivered: [UInt8] = []
    /// Bytes of tokens and literals.
    private(set) var packedBytes = 0
    private(set) var repairs = 0

    init(_ stream: MadeStream, disks: [[Page]], history: Int) {
        self.init(ScriptedParser(stream.parts), disks: disks, history: history)
    }

    init(_ parser: any StreamParser, disks: [[Page]], history: Int) {
        packer = MemoryPacker(parser: parser, history: history)
        unpacker = MemoryUnpacker(history: history, blocks: disks.map { UInt64($0.count) })
        self.disks = disks
        self.history = history
        let hasher = BlockHasher()
        var places: [Fingerprint: (disk: Int, block: UInt64)] = [:]
        for (disk, blocks) in disks.enumerated() {
            for (block, page) in blocks.enumerated() {
                places[page.withUnsafeBytes { hasher.fingerprint($0) }] = (disk, UInt64(block))
            }
        }
        self.places = places
    }

    /// Describes the next bytes of a stream.
    func pack(_ bytes: ArraySlice<UInt8>, isWaiting: Bool) -> MemoryPacker.Packed {
        bytes.withUnsafeBytes { bytes in
            packer.pack(
                UnsafeRawBufferPointer(rebasing: bytes.prefix(MemoryBatch.maximumBytes)), isWaiting: isWaiting
            ) { contents in contents.map { places[$0] } }
        }
    }

    static func batch(_ packed: MemoryPacker.Packed) -> MemoryBatch {
        MemoryBatch(
            tokenBytes: packed.tokenBytes, literalBytes: packed.literalBytes, proof: packed.proof,
            compressed: ByteBuffer())
    }

    /// Unpacks a batch and reads its pages.
    mutating func unpack(_ packed: MemoryPacker.Packed) throws -> MemoryUnpacker.Unpacked {
        var batch = try packed.bytes.withUnsafeBytes { try unpacker.unpack(Self.batch(packed), $0) }
        for read in batch.reads {
            for page in 0..<read.count {
                let start = read.offset + page * read.stride
                batch.bytes.replaceSubrange(start..<start + StreamPart.pageBytes, with: self.page(read.place, page))
            }
        }
        kept += batch.literalPages.map { Array(batch.bytes[$0..<$0 + StreamPart.pageBytes]) }
        return batch
    }

    private func page(_ place: PagePlace, _ offset: Int) -> Page {
        switch place {
        case .disk(let disk, let block): disks[disk][Int(block) + offset]
        case .sent(let number): Int(number) + offset + history < kept.count ? [] : kept[Int(number) + offset]
        }
    }

    /// Carries the next bytes of a stream, and repairs a batch that is wrong.
    /// - Returns: the bytes that were carried; nil if the destination gets other ones than it should.
    mutating func carry(_ bytes: ArraySlice<UInt8>, isWaiting: Bool) throws -> Int? {
        let packed = pack(bytes, isWaiting: isWaiting)
        guard packed.consumed > 0 else { return 0 }
        packedBytes += packed.bytes.count
        var batch = try unpack(packed)
        if !unpacker.accept(batch) {
            repairs += 1
            batch.bytes = Array(bytes.prefix(packed.consumed))
            guard unpacker.accept(batch) else { return nil }
        }
        delivered += batch.bytes
        return packed.consumed
    }

    /// Carries a whole stream, in parts of random lengths.
    /// - Returns: whether every byte came.
    mutating func carry(_ stream: MadeStream, _ random: inout Seeded) throws -> Bool {
        var rest = stream.bytes[...]
        var there = 0
        while !rest.isEmpty {
            let most = random.chance(20) ? 100 : 50_000
            there = min(rest.count, there + .random(in: 1...most, using: &random))
            let isWaiting = there == rest.count || random.chance(20)
            guard let count = try carry(rest.prefix(there), isWaiting: isWaiting) else { return false }
            rest = rest.dropFirst(count)
            there -= count
        }
        return delivered == stream.bytes
    }
}
