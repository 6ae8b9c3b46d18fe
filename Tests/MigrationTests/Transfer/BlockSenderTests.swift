import Block
import NIOPosix
import TestSupport
import Testing

@testable import BlockModel
@testable import Migration
@testable import MigrationCore

@Suite struct BlockSenderTests {
    @Test("What a guest waits for is compressed in no time, whatever the link leaves time for", arguments: [0, 2])
    func urgentLevel(workers: Int) async throws {
        let scratch = Scratch()
        var random = Seeded.fresh()
        let image = try RawImage.create(path: "\(scratch.path)/disk.raw", size: 8 << 20)
        try random.bytes(8 << 20).withUnsafeBytes { try image.write($0, at: 0) }
        let geometry = try #require(BlockGeometry(size: image.size, blockSize: 4096))
        let pool = NIOThreadPool(numberOfThreads: 1)
        pool.start()
        for level: Int32 in [12, 1] {
            let sender = try BlockSender(
                image: image, geometry: geometry, manifest: nil, pace: CompressionPace(level: level), workers: workers)
            #expect(try await sender.batch([0, 1], on: pool).level == level)
            let urgent = try await sender.batch([2, 3, 9], on: pool, isUrgent: true)
            #expect(urgent.level == min(level, 3) && urgent.lateBytes == 0)
            #expect(urgent.compressedBytes >= 3 * 4096, "all of it, behind what was there before")
        }
        try await pool.shutdownGracefully()
    }
}
