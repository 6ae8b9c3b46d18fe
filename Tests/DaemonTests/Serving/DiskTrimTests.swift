import BlockModel
import Foundation
import Ring
import TestSupport
import Testing

@testable import Block
@testable import Daemon
@testable import FreeSpace

/// A trim against a disk that somebody begins to use in its midst.
@Suite("Trim of a disk that is used meanwhile", .timeLimit(.minutes(5)))
struct DiskTrimTests {
    private static let size = 8 << 20
    private static let free: [Range<UInt64>] = [4096..<1 << 20, 2 << 20..<5 << 20]

    private final class Flag: @unchecked Sendable {
        private let lock = NSLock()
        private var isSet = false
        func set() { lock.withLock { isSet = true } }
        var value: Bool { lock.withLock { isSet } }
    }

    private let scratch = Scratch()

    /// Trims a disk full of sevens.
    /// - Parameter meanwhile: Runs while the free blocks are read.
    /// - Returns: The outcome, the disk's bytes, and the blocks in the map of another follower.
    private func trim(
        isUnused: @escaping @Sendable () -> Bool = { true },
        meanwhile: @escaping @Sendable (DiskClient) async -> Void = { _ in }
    ) async throws -> (Result<TrimReport, any Error>, Data, UInt64) {
        let path = try scratch.write([UInt8](repeating: 7, count: Self.size), to: "disk.raw")
        let image = try RawImage(path: path, access: .readWrite)
        let loop = try EventLoop(index: 0)
        defer { loop.stop() }
        let disk = Disk(size: image.size, device: image.device, loops: [loop])
        let other = DirtyMap(geometry: try #require(BlockGeometry(size: image.size, blockSize: 4096)))
        await disk.follow(other)
        var trim = DiskTrim(
            name: "disk", disk: disk, image: image, loop: loop, isDryRun: false, isUnused: isUnused)
        trim.read = { _, size, _ in
            let done = DispatchSemaphore(value: 0)
            Task {
                await meanwhile(DiskClient(disk: disk, loop: loop))
                done.signal()
            }
            done.wait()
            return [Volume(bytes: 0..<size, fileSystem: "ext4", verdict: .clean, free: Self.free)]
        }
        let result: Result<TrimReport, any Error>
        do { result = .success(try await trim.run { _ in }) } catch { result = .failure(error) }
        return (result, try Data(contentsOf: URL(fileURLWithPath: path)), other.count())
    }

    @Test("Nobody comes -> the free bytes are zeros, every follower has them, and nothing else has changed")
    func alone() async throws {
        let (result, bytes, marked) = try await trim()
        #expect(try result.get().punched == (4 << 20) - 4096)
        var expected = Data(repeating: 7, count: Self.size)
        for run in Self.free { expected.resetBytes(in: Int(run.lowerBound)..<Int(run.upperBound)) }
        #expect(bytes == expected && marked == ((4 << 20) - 4096) / 4096)
    }

    @Test("A write while the free blocks are read -> nothing is punched")
    func written() async throws {
        let (result, bytes, marked) = try await trim(meanwhile: { client in
            #expect(await client.perform(.writeZeroes, offset: 3 << 20, length: 512) == 0)
        })
        #expect(throws: NodeError.self) { try result.get() }
        #expect("\(result)".contains("has been written to"))
        #expect(bytes.count { $0 == 0 } == 512 && marked == 1)
    }

    @Test("A client that comes while the free blocks are read -> nothing is punched")
    func connected() async throws {
        let isThere = Flag()
        let (result, bytes, _) = try await trim(isUnused: { !isThere.value }, meanwhile: { _ in isThere.set() })
        #expect("\(result)".contains("a client has connected"))
        #expect(bytes == Data(repeating: 7, count: Self.size))
    }

    @Test("Runs of all sizes -> pieces of them in order, none of which is large")
    func pieces() {
        let small = (0..<600).map { (number: UInt64) in (1 << 30) + number * 9..<(1 << 30) + number * 9 + 1 }
        let runs: [Range<UInt64>] = [0..<1, 10..<200 << 20] + small
        let pieces = DiskTrim.pieces(of: runs)
        for piece in pieces {
            let bytes = piece.reduce(0) { $0 + $1.count }
            #expect(piece.count <= 256 && bytes <= 64 << 20)
        }
        let total = runs.reduce(0) { $0 + $1.count }
        #expect(pieces.joined().reduce(0) { $0 + $1.count } == total)
        #expect(pieces.joined().map(\.lowerBound) == pieces.joined().map(\.lowerBound).sorted())
    }
}
