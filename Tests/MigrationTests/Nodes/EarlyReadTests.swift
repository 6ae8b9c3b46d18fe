import Foundation
import NIOConcurrencyHelpers
import TestSupport
import Testing

@testable import Block
@testable import Migration
@testable import MigrationProtocol

@Suite("Reads before the switchover", .timeLimit(.minutes(10)))
struct EarlyReadTests {
    @Test("Clients of a disk that is still to come may read much at once, many at a time")
    func longReads() async throws {
        var random = Seeded.fresh()
        let (source, destination) = (try TestNode(), try TestNode())
        let (disk, image) = try source.makeDisk(size: 12 << 20, &random)
        let contents = try TestNode.contents(image.path)
        try await destination.receiving { address in
            let migration = source.migration(of: disk, image, to: address, switchover: .manual)
            let moving = Task { try await migration.run { _ in } }
            let client = destination.client(try await arriving(destination.announced))
            try await withThrowingTaskGroup(of: Bool.self) { group in
                // More than 128 MiB, which is what all of them have.
                for number in 0..<24 {
                    group.addTask {
                        let offset = number % 5 * (1 << 20)
                        let memory = BlockBuffer(byteCount: 7 << 20)
                        let error = await client.perform(
                            .read, offset: UInt64(offset), length: 7 << 20, buffer: memory.bytes.baseAddress)
                        return error == 0 && Data(memory.bytes) == contents[offset..<offset + (7 << 20)]
                    }
                }
                for try await isRight in group { #expect(isRight) }
            }
            _ = migration.cancel()
            _ = try? await moving.value
        }
    }

    private func arriving(_ disks: NIOLockedValueBox<[String: Disk]>) async throws -> Disk {
        try await waitUntil("the disk is announced") { disks.withLockedValue { $0["disk"] } != nil }
        return try #require(disks.withLockedValue { $0["disk"] })
    }
}
