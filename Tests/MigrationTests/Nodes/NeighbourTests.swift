import Block
import Foundation
import Index
import TestSupport
import Testing

@testable import Migration

@Suite("Neighbours are advice", .timeLimit(.minutes(10)))
struct NeighbourTests {
    /// What may happen to a neighbour between indexing and use.
    enum Change: CaseIterable {
        case nothing, rewritten, truncated, deleted, replaced, tableDamaged, indexRemoved
    }

    @Test(
        "Invariant 4: whatever happened to a neighbour since it was indexed, the disk arrives whole",
        arguments: Change.allCases)
    func changed(_ change: Change) async throws {
        var random = Seeded.fresh()
        let source = try TestNode()
        let destination = try TestNode()
        let (disk, image) = try source.makeDisk(size: 2 << 20, &random)
        let neighbour = destination.scratch.file("neighbour.raw")
        try TestNode.contents(image.path).write(to: URL(fileURLWithPath: neighbour))
        let index = destination.scratch.file("index")
        _ = try IndexStore(directory: index).add(neighbour, options: BuildOptions(threads: 2))
        try apply(change, neighbour, index)
        let report = try await destination.receiving(index: index) { address in
            try await source.migration(of: disk, image, to: address).run { _ in }
        }
        #expect(try TestNode.contents(image.path) == TestNode.contents("\(destination.images)/disk.raw"))
        #expect(report.ledger.total == 2 << 20)
        switch change {
        case .nothing: #expect(report.ledger.neighbour > 0 && report.ledger.link == 0)
        case .rewritten, .truncated, .deleted, .replaced, .indexRemoved: #expect(report.ledger.neighbour == 0)
        case .tableDamaged: break
        }
    }

    @Test(
        "Invariant 4: a neighbour that changes all the time while the disk arrives is as good as none, and no worse",
        arguments: [Change.rewritten, .truncated, .deleted, .replaced])
    func changing(_ change: Change) async throws {
        var random = Seeded.fresh()
        let source = try TestNode()
        let destination = try TestNode()
        let (disk, image) = try source.makeDisk(size: 24 << 20, &random)
        let contents = try TestNode.contents(image.path)
        let neighbour = destination.scratch.file("neighbour.raw")
        try contents.write(to: URL(fileURLWithPath: neighbour))
        let index = destination.scratch.file("index")
        _ = try IndexStore(directory: index).add(neighbour, options: BuildOptions(threads: 2))
        let (changes, report) = try await destination.receiving(index: index) { address in
            let changing = Task {
                var count = 0
                while !Task.isCancelled {
                    try apply(change, neighbour, index)
                    count += 1
                    try? await Task.sleep(for: .milliseconds(3))
                    try contents.write(to: URL(fileURLWithPath: neighbour))
                    try? await Task.sleep(for: .milliseconds(3))
                }
                return count
            }
            let report = try await source.migration(of: disk, image, to: address).run { _ in }
            changing.cancel()
            return (try await changing.value, report)
        }
        #expect(changes > 1)
        #expect(try TestNode.contents("\(destination.images)/disk.raw") == contents)
        #expect(report.ledger.total == 24 << 20)
    }

    @Test("Only neighbours of the domains that it is given are drawn on", arguments: [[], ["a"], ["b"], ["b", "a"]])
    func domains(_ domains: [String]) async throws {
        var random = Seeded.fresh()
        let source = try TestNode()
        let destination = try TestNode()
        let (disk, image) = try source.makeDisk(size: 1 << 20, &random)
        let neighbour = destination.scratch.file("neighbour.raw")
        try TestNode.contents(image.path).write(to: URL(fileURLWithPath: neighbour))
        let index = destination.scratch.file("index")
        _ = try IndexStore(directory: index).add(neighbour, domain: "a", options: BuildOptions(threads: 1))
        let report = try await destination.receiving(index: index) { address in
            try await source.migration(of: disk, image, to: address, domains: domains).run { _ in }
        }
        #expect(try TestNode.contents(image.path) == TestNode.contents("\(destination.images)/disk.raw"))
        #expect((report.ledger.neighbour > 0) == (domains != ["b"]))
        #expect((report.ledger.link == 0) == (domains != ["b"]))
    }

    @Test("Blocks are of the size that the destination's index has", arguments: [512, 4096, 65536])
    func blockSizes(_ blockSize: Int) async throws {
        var random = Seeded.fresh()
        let source = try TestNode()
        let destination = try TestNode()
        let (disk, image) = try source.makeDisk(size: 3_000_001, &random)
        let neighbour = destination.scratch.file("neighbour.raw")
        var contents = try TestNode.contents(image.path)
        contents.replaceSubrange(1_000_000..<1_000_010, with: Data(count: 10))
        try contents.write(to: URL(fileURLWithPath: neighbour))
        let index = destination.scratch.file("index")
        _ = try IndexStore(directory: index, blockSize: blockSize).add(neighbour, options: BuildOptions(threads: 2))
        let guest = try source.guest(on: disk, image, seed: random.next())
        let report = try await destination.receiving(index: index) { address in
            let writing = Task { await guest.run(pausing: .milliseconds(20)) }
            let report = try await source.migration(of: disk, image, to: address, rate: 200_000_000).run { _ in }
            writing.cancel()
            _ = await writing.value
            return report
        }
        #expect(try TestNode.contents("\(destination.images)/disk.raw") == guest.model)
        #expect(report.ledger.total == report.size + report.resent)
        #expect(report.ledger.neighbour > 1_000_000)
    }

    private func apply(_ change: Change, _ neighbour: String, _ index: String) throws {
        let manager = FileManager.default
        switch change {
        case .nothing:
            break
        case .rewritten:
            // In place, with size and time stamps as they were: nothing but the bytes can tell.
            var info = stat()
            stat(neighbour, &info)
            let handle = try FileHandle(forUpdating: URL(fileURLWithPath: neighbour))
            try handle.write(contentsOf: Data(repeating: 0xee, count: Int(info.st_size)))
            try handle.close()
            var times = [info.st_atim, info.st_mtim]
            utimensat(AT_FDCWD, neighbour, &times, 0)
        case .truncated:
            truncate(neighbour, 100)
        case .deleted:
            try manager.removeItem(atPath: neighbour)
        case .replaced:
            try manager.removeItem(atPath: neighbour)
            try Data(repeating: 0xdd, count: 2 << 20).write(to: URL(fileURLWithPath: neighbour))
        case .tableDamaged:
            for file in try manager.contentsOfDirectory(atPath: index) where !file.hasSuffix(".json") {
                truncate("\(index)/\(file)", 200)
            }
        case .indexRemoved:
            try manager.removeItem(atPath: index)
        }
    }
}
