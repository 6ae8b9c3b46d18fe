import Foundation
import MigrationCore
import NIOPosix
import Peer
import TestSupport
import Testing

@testable import Block
@testable import Migration
@testable import PeerModel

/// Two nodes, between which tests move the memory of a guest from a socket here to one there.
struct RelayingNodes {
    let source: TestNode
    let destination: TestNode
    /// The folder of the sockets there.
    let folder: String
    /// The socket here.
    let socket: String
    /// Bits a second; nil for no limit.
    var rate: UInt64?

    init() throws {
        source = try TestNode()
        destination = try TestNode()
        folder = destination.scratch.file("memory")
        try FileManager.default.createDirectory(
            atPath: folder, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o755])
        socket = source.scratch.file("memory.sock")
    }

    /// A stream whose pages are those of a disk that both nodes have.
    func streamOfDisk(
        _ random: inout Seeded, as format: ([UInt8]) -> [UInt8], changing change: (RawImage) throws -> Void = { _ in }
    ) throws -> (stream: [UInt8], pages: Int) {
        let count = 256
        let bytes = random.bytes(count * StreamPart.pageBytes)
        try makeDisk(bytes, changing: change)
        return (format(bytes), count)
    }

    /// Makes the disk `disk` at both nodes.
    func makeDisk(_ bytes: [UInt8], changing change: (RawImage) throws -> Void = { _ in }) throws {
        for node in [source, destination] {
            let image = try RawImage.create(path: node.scratch.file("disk.raw"), size: UInt64(bytes.count))
            try bytes.withUnsafeBytes { try image.write($0, at: 0) }
            if node === destination { try change(image) }
            node.arrivedImages.withLockedValue { $0["disk"] = image }
        }
    }

    /// Moves a stream beside the disk `disk`, and compares what comes out.
    func move(_ stream: [UInt8]) async throws -> MemoryStatus {
        try await relayingDisk { here, there async throws in
            async let came = there.read()
            #expect(try await here.write(stream))
            here.endWriting()
            let bytes = try await came
            #expect(bytes == stream)
        }
    }

    /// As `relaying`, beside the disk `disk`.
    func relayingDisk(_ body: (Hypervisor, Hypervisor) async throws -> Void) async throws -> MemoryStatus {
        let image = source.arrivedImages.withLockedValue { $0["disk"]! }
        let theirs = destination.arrivedImages.withLockedValue { $0["disk"]! }
        let disks = MemoryRelay.Disks.standing([StandingDisk(name: "disk", image: image)])
        return try await relaying(
            disks, before: { destination.arrivedImages.withLockedValue { $0["disk"] = theirs } }, body)
    }

    /// Runs `body` with the hypervisor here and the one there, connected by the two nodes.
    @discardableResult
    func relaying(
        _ disks: MemoryRelay.Disks, before prepare: () -> Void = {},
        _ body: (Hypervisor, Hypervisor) async throws -> Void
    ) async throws -> MemoryStatus {
        let waiting = Hypervisor.listen(at: "\(folder)/guest.sock")
        defer { close(waiting) }
        return try await destination.receiving(memory: try MemoryDirectory(path: folder)) { address in
            prepare()
            return try await listening(to: address, disks) { relay async throws in
                let here = try await Hypervisor.connect(to: socket)
                let there = try await Hypervisor.accept(on: waiting)
                try await body(here, there)
                here.hangUp()
                await relay.waitUntilIdle()
                return relay.status
            }
        }
    }

    func listening<Result: Sendable>(
        to address: PeerAddress, _ disks: MemoryRelay.Disks, _ body: (MemoryRelay) async throws -> Result
    ) async throws -> Result {
        let relay = MemoryRelay(
            job: MemoryRelay.Job(
                name: "guest", destination: address, rate: RateLimit(bitsPerSecond: rate), isAtOnce: false,
                scratch: source.state.scratch),
            disks: disks, transport: source.transport, pools: source.pools, logger: source.logger)
        let server = try await ServerBootstrap(group: source.transport.group)
            .acceptingBareChannels()
            .bind(Hypervisor.listen(at: socket)) { $0.eventLoop.makeSucceededFuture($0) }
        let task = Task { try await relay.run(on: server) }
        let result: Swift.Result<Result, any Error>
        do { result = .success(try await body(relay)) } catch { result = .failure(error) }
        task.cancel()
        _ = await task.result
        return try result.get()
    }
}
