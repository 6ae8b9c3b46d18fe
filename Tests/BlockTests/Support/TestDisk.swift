import Foundation
import Ring

@testable import Block

/// A disk with its own loops and image.
final class TestDisk: Sendable {
    let loops: [EventLoop]
    let disk: Disk
    let image: RawImage

    private init(_ path: String, loops count: Int, device: BlockDevice?) throws {
        image = try RawImage(path: path, access: .readWrite)
        loops = try (0..<count).map { try EventLoop(index: $0) }
        disk = Disk(size: image.size, device: device ?? FileDevice(image: image), loops: loops)
    }

    /// Runs `body` with a disk on the file at `path`; `device` serves it instead of the file if it is given.
    static func run(
        _ path: String, loops: Int = 1, device: BlockDevice? = nil, _ body: (TestDisk) async throws -> Void
    ) async throws {
        let test = try TestDisk(path, loops: loops, device: device)
        defer { for loop in test.loops { loop.stop() } }
        try await body(test)
    }

    func client(on loop: Int = 0) -> DiskClient { DiskClient(disk: disk, loop: loops[loop]) }

    /// Bytes that the file takes on its file system.
    var allocated: Int {
        var info = stat()
        fstat(image.descriptor, &info)
        return Int(info.st_blocks) * 512
    }
}

extension DiskClient {
    func write(_ bytes: [UInt8], at offset: Int, forced: Bool = false) async -> CInt {
        let memory = Memory(bytes)
        return await perform(
            .write, offset: UInt64(offset), length: UInt64(bytes.count), buffer: memory.base, forced: forced)
    }

    func read(_ count: Int, at offset: Int) async -> (error: CInt, bytes: [UInt8]) {
        let memory = Memory([UInt8](repeating: 0xee, count: count))
        let error = await perform(
            .read, offset: UInt64(offset), length: UInt64(count), buffer: memory.base)
        return (error, memory.contents)
    }
}

/// Memory for a disk's requests; it is freed with this object.
final class Memory: @unchecked Sendable {
    private let bytes: UnsafeMutableRawBufferPointer

    init(_ contents: [UInt8]) {
        bytes = .allocate(byteCount: max(1, contents.count), alignment: 16)
        bytes.copyBytes(from: contents)
        count = contents.count
    }

    deinit { bytes.deallocate() }

    let count: Int
    var base: UnsafeMutableRawPointer { bytes.baseAddress! }
    var contents: [UInt8] { Array(bytes.prefix(count)) }
}

extension RawImage {
    func bytes(_ range: Range<Int>) throws -> [UInt8] {
        var bytes = [UInt8](repeating: 0xee, count: range.count)
        try bytes.withUnsafeMutableBytes { try read(into: $0, at: UInt64(range.lowerBound)) }
        return bytes
    }
}
