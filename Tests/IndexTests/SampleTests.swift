import Foundation
import Hashing
import NIOConcurrencyHelpers
import TestSupport
import Testing

@testable import Index

/// Look-ups in catalogues that list one fingerprint in sixteen.
@Suite("Samples of a site's tables", .timeLimit(.minutes(10)))
struct SampleTests {
    /// Reads the images of the test by the names of their tables.
    private final class Reader: NeighbourReader {
        private let images: [[UInt8]: [UInt8]]
        private let wait = NIOLockedValueBox<Duration?>(.zero)

        init(_ images: [[UInt8]: [UInt8]]) { self.images = images }

        var expectedWait: Duration? {
            get { wait.withLockedValue { $0 } }
            set { wait.withLockedValue { $0 = newValue } }
        }

        func read(
            _ table: [UInt8], into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64, isUrgent: Bool
        ) -> Bool {
            guard let image = images[table], Int(offset) + buffer.count <= image.count else { return false }
            buffer.copyBytes(from: image[Int(offset)..<Int(offset) + buffer.count])
            return true
        }

        func willRead(_ table: [UInt8], _ range: Range<UInt64>, isUrgent: Bool) {}
        func wasStale(_ table: [UInt8], at offset: UInt64) {}
    }

    private let scratch = TestSupport.Scratch()

    private func samples() throws -> String {
        let path = "\(scratch.path)/samples"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        return path
    }

    /// Publishes an image as a host's only one, and lists its samples.
    private func publish(_ bytes: [UInt8], of host: String) throws -> SiteTables {
        let image = try scratch.write(bytes, to: "\(host).raw")
        let added = try IndexStore(directory: "\(scratch.path)/\(host)").add(image, threads: 1)
        let reader = Reader([IndexFileName.digest(ofNeighbour: added.neighbour.name): bytes])
        let remote = RemoteTables(host: host, folder: DirectoryFolder(path: "\(scratch.path)/\(host)"), reader: reader)
        let samples = try samples()
        let before = SiteTables(hosts: [remote], samples: DirectoryFolder(path: samples), blockSize: 4096)
        #expect(before.uncovered == 1)
        let change = try SampleCatalogues(scratch: scratch.path, threads: 1).update(
            before, isMerging: true, owner: nil)
        let file = try #require(change.file)
        try FileManager.default.moveItem(
            atPath: file, toPath: "\(samples)/\(URL(fileURLWithPath: file).lastPathComponent)")
        return SiteTables(hosts: [remote], samples: DirectoryFolder(path: samples), blockSize: 4096, after: before)
    }

    /// The reader of a host in what `publish` has returned.
    private func reader(of host: String, in site: SiteTables) throws -> Reader {
        try #require(site.tables.first { $0.owner?.host == host }?.owner?.reader as? Reader)
    }

    @Test("Two hosts have an image -> the nearer and less busy one gives it; one that has failed gives nothing")
    func nearest() throws {
        var random = Seeded.fresh()
        let bytes = random.bytes(2048 * 4096)
        let hosts = ["a", "b"]
        let remotes = try hosts.map { try #require(try publish(bytes, of: $0).tables.first?.owner) }
        let site = SiteTables(hosts: remotes, samples: DirectoryFolder(path: try samples()), blockSize: 4096)
        let index = try empty().joined(with: site)
        let fingerprints = NaiveImage(bytes, block: 4096).fingerprints
        func givers() -> Set<String> {
            Set(index.lookUp(fingerprints).compactMap { $0.flatMap { index.neighbours[$0.neighbour].host } })
        }
        for near in hosts {
            for host in hosts {
                try reader(of: host, in: site).expectedWait = host == near ? .milliseconds(1) : .milliseconds(40)
            }
            #expect(givers() == [near])
            let candidate = try #require(index.lookUp(fingerprints).compactMap(\.self).first)
            try reader(of: near, in: site).expectedWait = nil
            #expect(index.isAway(candidate))
            #expect(givers() == Set(hosts).subtracting([near]))
        }
        for host in hosts { try reader(of: host, in: site).expectedWait = nil }
        #expect(givers().isEmpty)
    }

    private func empty() throws -> NeighbourIndex {
        _ = try IndexStore(directory: "\(scratch.path)/own")
        return try NeighbourIndex.open(directory: "\(scratch.path)/own")
    }

    @Test("Long runs at other places -> nearly all found, from the other host; its bytes are hashed")
    func runs() throws {
        var random = Seeded.fresh()
        let blocks = 4096
        let bytes = random.bytes(blocks * 4096)
        let site = try publish(bytes, of: "a")
        #expect(site.uncovered == 0 && site.catalogues == 1)
        let index = try empty().joined(with: site)
        let naive = NaiveImage(bytes, block: 4096).fingerprints
        // Runs of 100 blocks, in another order.
        let order = (0..<blocks / 100).shuffled(using: &random).flatMap { ($0 * 100)..<($0 * 100 + 100) }
        let found = index.lookUp(order.map { naive[$0] })
        #expect(found.count { $0 != nil } > order.count * 97 / 100)
        let hasher = BlockHasher()
        withUnsafeTemporaryAllocation(byteCount: 4096, alignment: 8) { buffer in
            for (place, candidate) in zip(order, found) {
                guard let candidate else { continue }
                #expect(candidate.block == UInt64(place))
                #expect(index.fetch(candidate, expecting: naive[place], into: buffer, hasher: hasher))
            }
        }
        #expect(index.neighbours.map(\.host) == ["a"])
    }

    @Test("A catalogue of samples has a sixteenth of the entries; other fingerprints are not looked for in it")
    func size() throws {
        var random = Seeded.fresh()
        let bytes = random.bytes(8192 * 4096)
        let site = try publish(bytes, of: "a")
        let entries = try #require(site.samples.first).1.header.entryCount
        let expected = NaiveImage(bytes, block: 4096).fingerprints.count { Sampling.isSample($0.high) }
        #expect(entries == UInt64(expected) && (400...640).contains(expected))
    }

    @Test("An image that is here and on another host -> the one here is used")
    func own() throws {
        var random = Seeded.fresh()
        let bytes = random.bytes(512 * 4096)
        let site = try publish(bytes, of: "a")
        _ = try IndexStore(directory: "\(scratch.path)/own").add(try scratch.write(bytes, to: "own.raw"), threads: 1)
        let index = try NeighbourIndex.open(directory: "\(scratch.path)/own").joined(with: site)
        let found = index.lookUp(NaiveImage(bytes, block: 4096).fingerprints)
        #expect(found.allSatisfy { $0.map { index.neighbours[$0.neighbour].host == nil } ?? false })
    }

    @Test("Another domain -> not found; a table that is replaced -> opened again")
    func changes() throws {
        var random = Seeded.fresh()
        let bytes = random.bytes(512 * 4096)
        let site = try publish(bytes, of: "a")
        let fingerprints = NaiveImage(bytes, block: 4096).fingerprints
        let index = try empty().joined(with: site)
        #expect(index.restricted(to: ["other"]).lookUp(fingerprints).allSatisfy { $0 == nil })
        #expect(index.restricted(to: [Neighbour.standardDomain]).lookUp(fingerprints).contains { $0 != nil })
        let remote = try #require(site.tables.first?.owner)
        let folder = DirectoryFolder(path: try samples())
        let same = SiteTables(hosts: [remote], samples: folder, blockSize: 4096, after: site)
        #expect(same.tables[0] === site.tables[0])
        _ = try IndexStore(directory: "\(scratch.path)/a").add(scratch.file("a.raw"), threads: 1)
        let later = SiteTables(hosts: [remote], samples: folder, blockSize: 4096, after: same)
        #expect(later.tables[0] !== site.tables[0] && later.uncovered == 1)
    }
}
