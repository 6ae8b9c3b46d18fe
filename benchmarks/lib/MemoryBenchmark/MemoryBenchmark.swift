import Foundation
import Hashing
import MigrationCore
import MigrationProtocol
import NIOCore

/// Packs and unpacks a synthetic memory stream on one core, without compression, and prints the rate of each stage.
///
///     MemoryBenchmark MEGABYTES ZERO DISK SENT
///
/// The last three are the shares of pages in percent; the others are literal.
@main
struct MemoryBenchmark {
    /// Pages that are kept to be referred to.
    private static let history = 1 << 14

    static func main() throws {
        let numbers = CommandLine.arguments.dropFirst().compactMap { Int($0) }
        guard numbers.count == 4, numbers[0] > 0, numbers.dropFirst().allSatisfy({ $0 >= 0 }),
            numbers.dropFirst().reduce(0, +) <= 100
        else {
            FileHandle.standardError.write(Data("usage: MemoryBenchmark MEGABYTES ZERO DISK SENT\n".utf8))
            exit(2)
        }
        let stream = SyntheticStream(
            pages: numbers[0] << 8, zeros: numbers[1], disk: numbers[2], sent: numbers[3], history: history)
        // The second time counts: then all memory is there.
        _ = try carry(stream)
        let (stopwatch, tally) = try carry(stream)
        let memory = Double(stream.pages * StreamPart.pageBytes) / 1e6
        print("\(stream.pages) pages, of them \(tally.zeros) zero, \(tally.disk) on disk, \(tally.sent) sent before")
        for (stage, seconds) in stopwatch.seconds {
            print(row(stage.rawValue, "\(Int(memory / max(seconds, 1e-9))) MB/s"))
        }
        print(row("SHA-256 alone", "\(rateOfHash(stream)) MB/s"))
    }

    private static func row(_ name: String, _ value: String) -> String {
        name.padding(toLength: 18, withPad: " ", startingAt: 0) + value
    }

    /// Packs and unpacks the whole stream once.
    private static func carry(_ stream: SyntheticStream) throws -> (Stopwatch, MemoryTally) {
        let packer = MemoryPacker(parser: HeaderParser(), history: history)
        let unpacker = MemoryUnpacker(history: history, blocks: [UInt64(stream.disk.count / StreamPart.pageBytes)])
        var kept = KeptPages(capacity: history)
        var stopwatch = Stopwatch()
        try stream.bytes.withUnsafeBytes { bytes in
            var rest = bytes
            while !rest.isEmpty {
                let next = UnsafeRawBufferPointer(rebasing: rest.prefix(MemoryBatch.maximumBytes))
                var finding = 0.0
                let began = Stopwatch.now()
                let packed = packer.pack(next, isWaiting: next.count == rest.count) { contents in
                    let began = Stopwatch.now()
                    defer { finding = Stopwatch.now() - began }
                    return contents.map { content in stream.index[content].map { (0, $0) } }
                }
                stopwatch.add(.pack, Stopwatch.now() - began - finding)
                stopwatch.add(.find, finding)
                rest = UnsafeRawBufferPointer(rebasing: rest[packed.consumed...])
                try unpack(packed, unpacker, stream, &kept, &stopwatch)
            }
        }
        guard packer.digest == unpacker.digest, packer.tally == unpacker.tally else {
            preconditionFailure("both sides agree")
        }
        return (stopwatch, packer.tally)
    }

    private static func unpack(
        _ packed: MemoryPacker.Packed, _ unpacker: MemoryUnpacker, _ stream: SyntheticStream, _ kept: inout KeptPages,
        _ stopwatch: inout Stopwatch
    ) throws {
        let batch = MemoryBatch(
            tokenBytes: packed.tokenBytes, literalBytes: packed.literalBytes, proof: packed.proof,
            compressed: ByteBuffer())
        var unpacked = try stopwatch.time(.unpack) {
            try packed.bytes.withUnsafeBytes { try unpacker.unpack(batch, $0) }
        }
        stopwatch.time(.read) {
            for read in unpacked.reads { kept.copy(read, stream.disk, into: &unpacked.bytes) }
        }
        guard stopwatch.time(.accept, { unpacker.accept(unpacked) }) else {
            preconditionFailure("what was packed can be unpacked")
        }
        kept.add(unpacked)
    }

    /// MB/s of fingerprints of pages that are not zero, from this processor's caches.
    private static func rateOfHash(_ stream: SyntheticStream) -> Int {
        let hasher = BlockHasher()
        let began = Stopwatch.now()
        let count = 20_000
        var sum: UInt64 = 0
        stream.disk.withUnsafeBytes { disk in
            for page in 0..<count {
                let place = page % 256 * StreamPart.pageBytes
                let bytes = UnsafeRawBufferPointer(rebasing: disk[place..<place + StreamPart.pageBytes])
                sum &+= hasher.fingerprint(bytes).low
            }
        }
        precondition(sum != 0)
        return Int(Double(count * StreamPart.pageBytes) / 1e6 / (Stopwatch.now() - began))
    }
}
