import Block
import Foundation
import NIOConcurrencyHelpers
import TestSupport

@testable import BlockModel

/// Writes, zeroes and trims at random and knows what the disk must hold; one request at a time.
final class Guest: Sendable {
    private struct State {
        var model: [UInt8]
        var random: Seeded
        var writes = 0
    }

    private let client: DiskClient
    private let state: NIOLockedValueBox<State>

    init(client: DiskClient, contents: Data, seed: UInt64) {
        self.client = client
        state = NIOLockedValueBox(State(model: Array(contents), random: Seeded(seed)))
    }

    var model: Data { state.withLockedValue { Data($0.model) } }
    var writes: Int { state.withLockedValue { $0.writes } }

    /// One request; records what the disk holds once it is acknowledged.
    /// - Returns: its error.
    func step() async -> CInt {
        let (kind, offset, bytes) = state.withLockedValue { state -> (RequestKind, Int, [UInt8]) in
            let kind: RequestKind = [.write, .write, .write, .writeZeroes, .flush].randomElement(
                using: &state.random)!
            let offset = Int.random(in: 0..<state.model.count, using: &state.random)
            let count = min(state.model.count - offset, Int.random(in: 1...9000, using: &state.random))
            let bytes = kind == .write ? state.random.bytes(count) : [UInt8](repeating: 0, count: count)
            return (kind, offset, bytes)
        }
        return kind == .flush ? await client.perform(.flush) : await write(bytes, at: offset, as: kind)
    }

    /// Writes these bytes; records what the disk holds once that is acknowledged.
    /// - Returns: the error.
    func write(_ bytes: [UInt8], at offset: Int, as kind: RequestKind = .write) async -> CInt {
        let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes.count, alignment: 16)
        defer { memory.deallocate() }
        memory.copyBytes(from: bytes)
        let error = await client.perform(
            kind, offset: UInt64(offset), length: UInt64(bytes.count), buffer: memory.baseAddress)
        state.withLockedValue { state in
            if error == 0 { state.model.replaceSubrange(offset..<offset + bytes.count, with: bytes) }
            state.writes += 1
        }
        return error
    }

    /// Goes on until the task is cancelled.
    /// - Returns: the first error, or 0.
    func run(pausing: Duration) async -> CInt {
        while !Task.isCancelled {
            let error = await step()
            if error != 0 { return error }
            if pausing > .zero { try? await Task.sleep(for: pausing) }
        }
        return 0
    }

    /// Whether the disk, read through its client, holds what was acknowledged.
    func finds(through client: DiskClient) async -> Bool {
        let expected = model
        let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: expected.count, alignment: 4096)
        defer { memory.deallocate() }
        let error = await client.perform(.read, length: UInt64(expected.count), buffer: memory.baseAddress)
        return error == 0 && Data(memory) == expected
    }
}
