import Foundation
import TestSupport
import Testing

@testable import Block

@Suite("A flush that has failed", .enabled(if: FullDevice.isPossible))
struct DurabilityTests {
    private let scratch = Scratch()

    private func onFullDevice(
        _ body: (_ path: String, _ makeRoom: () -> Void) async throws -> Void
    ) async throws {
        let device = try await FullDevice(on: scratch.file("small"))
        let outcome: Result<Void, any Error>
        do {
            outcome = .success(try await body(device.path, device.makeRoom))
        } catch {
            outcome = .failure(error)
        }
        try await device.remove()
        try outcome.get()
    }

    private let data = [UInt8](repeating: 7, count: 4 << 20)

    @Test("fails for every client from then on, however it was asked for, until the image is opened anew")
    func stays() async throws {
        try await onFullDevice { path, makeRoom in
            try await TestDisk.run(path, loops: 2) { test in
                let (first, second) = (test.client(on: 0), test.client(on: 1))
                #expect(await first.write([1, 2, 3, 4], at: 0) == 0)
                #expect(await first.perform(.flush) == 0)
                #expect(await first.write(data, at: 1 << 20) == 0)
                #expect(await second.write([5], at: 7 << 20) == 0)
                #expect(test.image.flushFailure == nil)
                #expect(await first.perform(.flush) != 0)
                makeRoom()
                for client in [first, second, first] {
                    #expect(await client.perform(.flush) != 0)
                    #expect(await client.write([6], at: 9, forced: true) != 0)
                    #expect(await client.perform(.writeZeroes, offset: 0, length: 512, forced: true) != 0)
                    #expect(await client.perform(.trim, offset: 0, length: 4096, forced: true) != 0)
                }
                #expect(throws: FileError.self) { try test.image.synchronize() }
                #expect(throws: FileError.self) { try test.image.checkIsDurable() }
                #expect(await second.write([8], at: 8) == 0, "writes alone promise nothing")
                #expect(await second.read(4, at: 1 << 20).bytes == [7, 7, 7, 7])
                let again = try RawImage(path: path, access: .readOnly)
                #expect(again.flushFailure == nil)
            }
        }
    }

    @Test("of a forced write, a thread or another loop fails all flushes")
    func everybodys() async throws {
        let failing: [(TestDisk) async -> Bool] = [
            { await $0.client().write([1], at: 6 << 20, forced: true) != 0 },
            { (try? $0.image.synchronize()) == nil },
            { await $0.client(on: 1).perform(.flush) != 0 },
        ]
        for fail in failing {
            try await onFullDevice { path, _ in
                try await TestDisk.run(path, loops: 2) { test in
                    #expect(await test.client().write(data, at: 1 << 20) == 0)
                    #expect(await fail(test))
                    #expect(await test.client(on: 0).perform(.flush) != 0)
                    #expect(await test.client(on: 1).perform(.flush) != 0)
                    #expect(throws: FileError.self) { try test.image.synchronize() }
                }
            }
        }
    }

    @Test("still counts after the node has opened the image again")
    func reopened() async throws {
        try await onFullDevice { path, _ in
            let image = try RawImage(path: path, access: .readOnly)
            let arriving = try image.reopened(for: .readWrite)
            try data.withUnsafeBytes { try arriving.write($0, at: 1 << 20) }
            #expect(throws: FileError.self) { try arriving.synchronize() }
            #expect(throws: FileError.self) { try image.reopened(for: .readOnly).synchronize() }
            #expect(throws: FileError.self) { try image.checkIsDurable() }
        }
    }

    @Test("Concurrent flushes of many clients all fail", arguments: 0..<5)
    func atOnce(_ round: Int) async throws {
        try await onFullDevice { path, _ in
            try await TestDisk.run(path, loops: 2) { test in
                #expect(await test.client().write(data, at: 1 << 20) == 0)
                let errors = await withTaskGroup(of: CInt.self) { group in
                    for number in 0..<32 {
                        group.addTask {
                            number % 3 == 0
                                ? await test.client(on: number % 2).write([1], at: number << 9, forced: true)
                                : await test.client(on: number % 2).perform(.flush)
                        }
                    }
                    return await group.reduce(into: []) { $0.append($1) }
                }
                #expect(!errors.contains(0))
            }
        }
    }
}
