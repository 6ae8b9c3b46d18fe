import Block
import Foundation
import Index
import Peer
import TestSupport
import Testing

@testable import BlockModel
@testable import Migration

/// Names in directories that others may write to lead nowhere else.
@Suite("Symbolic links", .timeLimit(.minutes(10)))
struct LinksInFoldersTests {
    private struct Record: Codable {
        var text = "text"
    }

    private let scratch = Scratch()

    /// A link at `path` to a file of these bytes.
    private func link(_ path: String, to bytes: [UInt8]) throws -> String {
        let target = try scratch.write(bytes, to: "target")
        try FileManager.default.createSymbolicLink(atPath: path, withDestinationPath: target)
        return target
    }

    @Test(
        "A record that is a link, a pipe or far too long is an error; a temporary file that is one is not written through"
    )
    func records() throws {
        let state = try StateDirectory(path: scratch.file("state"))
        try state.write(Record(), as: "kind-a")
        #expect(try state.read(Record.self, from: "kind-a")?.text == "text")
        let contents = try Data(contentsOf: URL(fileURLWithPath: state.path(of: "kind-a")))
        _ = try link(state.path(of: "kind-b"), to: Array(contents))
        #expect(throws: FileError.self) { try state.read(Record.self, from: "kind-b") }
        #expect(mkfifo(state.path(of: "kind-c"), 0o600) == 0)
        #expect(throws: FileError.self) { try state.read(Record.self, from: "kind-c") }
        _ = try scratch.hole(StateFile.longest + 1, "state/kind-d.json")
        #expect(throws: FileError.self) { try state.read(Record.self, from: "kind-d") }

        let target = try link("\(state.path(of: "kind-e")).\(getpid()).tmp", to: [1, 2, 3])
        try? state.write(Record(), as: "kind-e")
        #expect(try Data(contentsOf: URL(fileURLWithPath: target)) == Data([1, 2, 3]))
    }

    @Test("Maps and manifests of disks that arrive are not opened through links")
    func maps() throws {
        let geometry = try #require(BlockGeometry(size: 1 << 20, blockSize: 4096))
        for suffix in ["map", "live"] {
            let path = scratch.file("disk-\(suffix)")
            _ = try PresentMapStore.create(path: path, geometry: geometry, present: PresentMap(geometry: geometry))
            try FileManager.default.moveItem(atPath: "\(path).\(suffix)", toPath: "\(path).moved")
            try FileManager.default.createSymbolicLink(
                atPath: "\(path).\(suffix)", withDestinationPath: "\(path).moved")
            #expect(throws: FileError.self, "\(suffix)") { try PresentMapStore(path: path, geometry: geometry) }
        }
        let manifest = scratch.file("manifest")
        _ = try FingerprintFile(geometry: geometry, path: scratch.file("other"), isNew: true)
        try FileManager.default.createSymbolicLink(atPath: manifest, withDestinationPath: scratch.file("other"))
        #expect(throws: FileError.self) { try FingerprintFile(geometry: geometry, path: manifest, isNew: false) }
    }

    @Test("A partial image that is a link is replaced and not written through")
    func partial() async throws {
        var random = Seeded.fresh()
        let destination = try TestNode()
        let source = try TestNode()
        let size = 1 << 20
        let (disk, image) = try source.makeDisk(size: UInt64(size), &random)
        try FileManager.default.createDirectory(atPath: destination.images, withIntermediateDirectories: true)
        let target = try link("\(destination.images)/disk.raw.incoming", to: [UInt8](repeating: 7, count: size))
        try await destination.receiving { address in
            _ = try await source.migration(of: disk, image, to: address).run { _ in }
        }
        #expect(try Data(contentsOf: URL(fileURLWithPath: target)) == Data(repeating: 7, count: size))
        #expect(try TestNode.contents(image.path) == TestNode.contents("\(destination.images)/disk.raw"))
    }

    @Test("An image of a directory that others may write to is not opened through a link after a restart")
    func restored() async throws {
        for (mode, isServed) in [(0o755, true), (0o777, false)] {
            var random = Seeded.fresh()
            let destination = try TestNode()
            let source = try TestNode()
            let (disk, image) = try source.makeDisk(size: 1 << 20, &random)
            try await destination.receiving { address in
                _ = try await source.migration(of: disk, image, to: address).run { _ in }
            }
            let path = "\(destination.images)/disk.raw"
            let elsewhere = destination.scratch.file("elsewhere")
            try FileManager.default.moveItem(atPath: path, toPath: elsewhere)
            try FileManager.default.createSymbolicLink(atPath: path, withDestinationPath: elsewhere)
            #expect(chmod(destination.images, mode_t(mode)) == 0)
            try await destination.receiving { _ in
                let unserved = await destination.site.withLockedValue { $0 }?.unserved ?? [:]
                #expect((unserved["disk"] == nil) == isServed, "\(unserved)")
            }
        }
    }
}
