import Block
import Foundation
import Index
import MigrationProtocol
import Peer
import PeerModel
import Ring
import TestSupport
import Testing

@testable import Migration

@Suite("A relative as a prefix", .timeLimit(.minutes(10)))
struct RelativeTests {
    private static let size = 3 << 20

    /// A relative, and a disk that has a tenth of its blocks, and the rest at other offsets.
    private static func images(_ random: inout Seeded) -> (relative: [UInt8], disk: [UInt8]) {
        let relative = random.bytes(size)
        var disk = Array(relative[..<(size / 10 / 4096 * 4096)])
        disk += relative[(disk.count + 777)...]
        return (relative, disk + random.bytes(size - disk.count))
    }

    private static func index(_ bytes: [UInt8], on node: TestNode) throws -> String {
        let path = node.scratch.file("relative.raw")
        try Data(bytes).write(to: URL(fileURLWithPath: path))
        let index = node.scratch.file("index")
        _ = try IndexStore(directory: index).add(path, options: BuildOptions(threads: 2))
        return index
    }

    /// Moves a disk whose source and destination have the relative, or not, and checks that it arrives whole.
    /// - Parameter meddle: changes the destination's relative before the move.
    private func move(
        sourceHas: Bool, destinationHas: Bool, meddle: (String) throws -> Void = { _ in }
    ) async throws -> MigrationReport {
        var random = Seeded.fresh()
        let source = try TestNode()
        let destination = try TestNode()
        let (relative, bytes) = Self.images(&random)
        let image = try RawImage.create(path: source.scratch.file("disk.raw"), size: UInt64(bytes.count))
        try bytes.withUnsafeBytes { try image.write($0, at: 0) }
        let disk = Disk(size: image.size, device: FileDevice(image: image), loops: [source.loop])
        let ours = sourceHas ? try Self.index(relative, on: source) : nil
        let theirs = destinationHas ? try Self.index(relative, on: destination) : nil
        try meddle(destination.scratch.file("relative.raw"))
        let report = try await destination.receiving(index: theirs) { address in
            var job = source.job("disk", disk, image, to: address, rate: RateLimit(bitsPerSecond: 4_000_000))
            // The link is the limit, however busy the machine is: at a low level there is no prefix.
            job.prefixPatience = .seconds(300)
            if let ours { job.openIndex = { try? NeighbourIndex.open(directory: ours) } }
            return try await SourceMigration(
                job: job, transport: source.transport, pools: source.pools, logger: source.logger
            ).run { _ in }
        }
        #expect(try TestNode.contents("\(destination.images)/disk.raw") == Data(bytes))
        return report
    }

    @Test("Both sides have it -> what stands in it at other offsets is hardly sent")
    func both() async throws {
        let report = try await move(sourceHas: true, destinationHas: true)
        #expect(report.ledger.neighbour > 0)
        #expect(report.wire.data < 100 << 10, "\(report.wire.data) bytes of data")
    }

    @Test("Only one side has it -> the disk arrives as before", arguments: [true, false])
    func one(sourceHas: Bool) async throws {
        let report = try await move(sourceHas: sourceHas, destinationHas: !sourceHas)
        #expect(report.wire.data > 2 << 20)
    }

    @Test("Invariant 4: the destination's relative has changed since it was indexed -> the disk arrives whole")
    func changed() async throws {
        let report = try await move(sourceHas: true, destinationHas: true) { path in
            let file = try FileHandle(forWritingTo: URL(fileURLWithPath: path))
            for offset in stride(from: 0, to: Self.size, by: 3 * 4096) {
                try file.seek(toOffset: UInt64(offset))
                try file.write(contentsOf: [1, 2, 3])
            }
            try file.close()
        }
        #expect(report.wire.data < 2 << 20, "two thirds of it are there")
        let gone = try await move(sourceHas: true, destinationHas: true) {
            try FileManager.default.removeItem(atPath: $0)
        }
        #expect(gone.wire.data > 2 << 20)
    }
}
