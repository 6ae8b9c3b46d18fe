import Foundation
import TestSupport
import Testing

@testable import Block

@Suite(.timeLimit(.minutes(10))) struct RawImageTests {
    private let scratch = Scratch()

    @Test func nextDataFindsDataBetweenHoles() throws {
        let path = try scratch.hole(10 << 20, "disk.raw")
        let image = try RawImage(path: path, access: .readWrite)
        #expect(try image.nextData(from: 0) == nil)
        let megabyte = [UInt8](repeating: 1, count: 1 << 20)
        try megabyte.withUnsafeBytes {
            try image.write($0, at: 2 << 20)
            try image.write($0, at: 7 << 20)
        }
        try image.synchronize()
        #expect(try image.nextData(from: 0) == 2 << 20..<3 << 20)
        #expect(try image.nextData(from: 2 << 20 + 5) == (2 << 20 + 5)..<3 << 20)
        #expect(try image.nextData(from: 3 << 20) == 7 << 20..<8 << 20)
        #expect(try image.nextData(from: 8 << 20) == nil)
        #expect(try image.nextData(from: 10 << 20) == nil && image.nextData(from: .max) == nil)
        try image.punchHole(at: 2 << 20, length: 1 << 20)
        #expect(try image.nextData(from: 0) == 7 << 20..<8 << 20)
        #expect(try image.bytes(2 << 20..<3 << 20).allSatisfy { $0 == 0 })
        #expect(try image.bytes(7 << 20..<8 << 20) == megabyte)
    }

    @Test(
        "A range that a device can't punch, as it is not of whole sectors -> it reads as zeros, and only it",
        .enabled(if: LoopDevice.isPossible))
    func punchesPartOfASector() async throws {
        var bytes = [UInt8](repeating: 7, count: 1 << 20)
        let device = try await LoopDevice(file: scratch.write(bytes, to: "device"), sectorSize: 4096)
        let path = device.path
        let outcome = Result {
            let image = try RawImage(path: path, access: .readWrite)
            for (offset, length) in [(4096, 8192), (100_000, 300_001), ((1 << 20) - 512, 512)] {
                try image.punchHole(at: UInt64(offset), length: UInt64(length))
                bytes.replaceSubrange(offset..<offset + length, with: repeatElement(0, count: length))
            }
            // Bytes would be printed one by one.
            let isSame = try image.bytes(0..<1 << 20) == bytes
            #expect(isSame)
        }
        try await device.remove()
        try outcome.get()
    }

    @Test func dataOfAGrownFileEndsAtTheDisksEnd() throws {
        let path = try scratch.write([UInt8](repeating: 1, count: 5000), to: "disk.raw")
        let image = try RawImage(path: path, access: .readOnly)
        let file = open(path, O_WRONLY | O_APPEND)
        #expect(write(file, [UInt8](repeating: 2, count: 5000), 5000) == 5000)
        close(file)
        #expect(try image.nextData(from: 0) == 0..<5000 && image.size == 5000)
    }

    @Test func readingATruncatedFileFails() throws {
        let path = try scratch.write([UInt8](repeating: 1, count: 5000), to: "disk.raw")
        let image = try RawImage(path: path, access: .readOnly)
        truncate(path, 100)
        let error = #expect(throws: FileError.self) { try image.bytes(0..<5000) }
        #expect(error?.code == EIO && error?.path == path)
        #expect(try image.bytes(0..<100) == [UInt8](repeating: 1, count: 100))
    }

    @Test func openingWhatIsNoImageFailsInOneLine() async throws {
        let fifo = scratch.file("fifo")
        mkfifo(fifo, 0o600)
        let empty = try scratch.write([], to: "empty")
        for access in [RawImage.Access.readOnly, .readWrite] {
            for path in [fifo, scratch.path, empty, scratch.file("missing"), "/dev/null", "/dev/tty"] {
                let message = try await onThread { complaint { try RawImage(path: path, access: access) } }
                #expect(message?.contains(path) == true && message?.contains("\n") == false)
            }
        }
    }

    @Test func imagesAreOpenedWithoutNonblock() throws {
        let image = try RawImage(path: try scratch.hole(1, "disk.raw"), access: .readWrite)
        #expect(fcntl(image.descriptor, F_GETFL) & O_NONBLOCK == 0)
        #expect(fcntl(image.descriptor, F_GETFD) & FD_CLOEXEC != 0)
    }

    @Test func aNewImageIsAHoleAndATakenNameIsRefused() throws {
        let path = scratch.file("new.raw")
        let image = try RawImage.create(path: path, size: 100_001)
        #expect(try image.size == 100_001 && image.nextData(from: 0) == nil)
        #expect(complaint { try RawImage.create(path: path, size: 1) }?.contains("File exists") == true)
        try image.rename(to: scratch.file("other.raw"))
        #expect(image.path == scratch.file("other.raw") && access(path, F_OK) != 0)
    }

    @Test(arguments: [0, 1 << 63, UInt64.max]) func aFailedCreationLeavesNoFile(size: UInt64) throws {
        let path = scratch.file("new.raw")
        #expect(complaint { try RawImage.create(path: path, size: size) }?.contains(path) == true)
        #expect(access(path, F_OK) != 0)
    }

    @Test func anIdentityChangesWithTheContents() throws {
        let path = try scratch.write([1, 2, 3], to: "disk.raw")
        let image = try RawImage(path: path, access: .readWrite)
        var past = [timespec(tv_sec: 1, tv_nsec: 5), timespec(tv_sec: 1, tv_nsec: 5)]
        futimens(image.descriptor, &past)
        let before = try image.stamp()
        #expect(try image.stamp() == before && before.size == 3 && before.modified == 1_000_000_005)
        try [UInt8(9)].withUnsafeBytes { try image.write($0, at: 1) }
        #expect(try image.stamp() != before)
        #expect(try RawImage(path: path, access: .readOnly).stamp().inode == before.inode)
    }
}

/// The text of the error; nil if there is none.
private func complaint<Value>(_ body: () throws -> Value) -> String? {
    do {
        _ = try body()
        return nil
    } catch {
        return String(describing: error)
    }
}
