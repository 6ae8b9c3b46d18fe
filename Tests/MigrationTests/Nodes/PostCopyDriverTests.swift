import Block
import BlockModel
import Hashing
import Index
import Logging
import MigrationCore
import MigrationProtocol
import NIOCore
import TestSupport
import Testing

@testable import Migration

@Suite("A disk that is served before all of it has come, without a source")
struct PostCopyDriverTests {
    private static let capabilities: ProtocolSupport.Capabilities = .postcopy

    /// Calls `body` with the post-copy of a disk of 8 blocks, of which nothing has come.
    private func withPostCopy(_ body: (PostCopy) async throws -> Void) async throws {
        let scratch = Scratch()
        let geometry = try #require(BlockGeometry(size: 8 * 4096, blockSize: 4096))
        let pools = WorkPools(threads: 1)
        let postCopy = try PostCopy(
            parts: PostCopy.Parts(
                export: "disk", image: RawImage(path: scratch.hole(8 * 4096, "disk.raw"), access: .readWrite),
                store: .create(
                    path: scratch.file("disk"), geometry: geometry, present: PresentMap(geometry: geometry)),
                manifest: FingerprintFile(geometry: geometry, directory: scratch.path),
                announced: FingerprintFile(geometry: geometry, directory: scratch.path), index: nil,
                channels: PostCopyChannels(), pools: pools,
                logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
            ) { _ in })
        let outcome: Result<Void, any Error>
        do { outcome = .success(try await body(postCopy)) } catch { outcome = .failure(error) }
        await pools.shutDown()
        try outcome.get()
    }

    @Test("Zeros for a block that was said to be another one -> refused, and not put into the image")
    func zeros() async throws {
        try await withPostCopy { postCopy in
            postCopy.channelChanged(.up(.bulk, Self.capabilities, turn: 0))
            var said = [Fingerprint](repeating: .unknown, count: 8)
            said[5] = Fingerprint(high: 1, low: 2)
            try await postCopy.receive(
                .postcopy(.description(BlockDescription(first: 0, fingerprints: said))), on: .bulk)
            for channel in PostCopyChannel.allCases {
                await #expect(throws: MigrationError.self) {
                    try await postCopy.receive(.zeros(BlockRange(first: 4, count: 2)), on: channel)
                }
            }
            #expect(postCopy.map.missing == 8)
            try await postCopy.receive(.zeros(BlockRange(first: 2, count: 3)), on: .demand)
            #expect(postCopy.map.missing == 5, "nothing was known of these")
        }
    }

    @Test("A beginning of a channel that is heard of after its end -> changes nothing of the next connection")
    func lateBeginning() async throws {
        try await withPostCopy { postCopy in
            postCopy.channelChanged(.down(.bulk, turn: 0))
            postCopy.channelChanged(.up(.bulk, Self.capabilities, turn: 0))
            #expect(postCopy.ask { $0.openSegmentCount } == 0)
            #expect(postCopy.decompressors.withLockedValue { $0.isEmpty })
            postCopy.channelChanged(.up(.bulk, Self.capabilities, turn: 1))
            #expect(postCopy.ask { $0.openSegmentCount } == 1)
            let stream = postCopy.decompressors.withLockedValue { $0[.bulk] }
            postCopy.channelChanged(.up(.bulk, Self.capabilities, turn: 0))
            #expect(stream != nil && postCopy.decompressors.withLockedValue { $0[.bulk] } === stream)
        }
    }

    @Test("Data with nothing to unpack it -> not called too much")
    func noDecompressor() async throws {
        try await withPostCopy { postCopy in
            let data = DataSegment(runs: [BlockRange(first: 0, count: 1)], compressed: ByteBuffer())
            let error = await #expect(throws: MigrationError.self) {
                try await postCopy.receive(.data(data), on: .demand)
            }
            #expect(error.map { "\($0)" }?.contains("nothing to unpack it with") == true)
        }
    }
}
