import Block
import Glibc
import NIOConcurrencyHelpers

@testable import Hashing
@testable import Index

/// Fingerprints of a disk that does not exist; may change, and fail, at any time.
final class ImaginedDisk: FingerprintSource {
    private struct State {
        var fingerprints: [UInt64: Fingerprint]
        var isBroken = false
        var reads = 0
    }

    let blockCount: UInt64
    private let dataBlocks: [UInt64]
    private let state: NIOLockedValueBox<State>

    init(_ fingerprints: [UInt64: Fingerprint], blocks: UInt64) {
        blockCount = blocks
        dataBlocks = fingerprints.keys.sorted()
        state = NIOLockedValueBox(State(fingerprints: fingerprints))
    }

    convenience init(_ fingerprints: [Fingerprint]) {
        let numbered = fingerprints.enumerated().filter { $0.element != .zero }.map { (UInt64($0.offset), $0.element) }
        self.init(Dictionary(uniqueKeysWithValues: numbered), blocks: UInt64(fingerprints.count))
    }

    var dataBlocksLimit: UInt64 { UInt64(dataBlocks.count) }
    /// The number of calls of `read`.
    var reads: Int { state.withLockedValue { $0.reads } }
    var isBroken: Bool {
        get { state.withLockedValue { $0.isBroken } }
        set { state.withLockedValue { $0.isBroken = newValue } }
    }

    subscript(block: UInt64) -> Fingerprint {
        get { state.withLockedValue { $0.fingerprints[block] ?? .zero } }
        set { state.withLockedValue { $0.fingerprints[block] = newValue } }
    }

    func nextData(from block: UInt64) -> Range<UInt64>? {
        var (low, end) = (0, dataBlocks.count)
        while low < end {
            let middle = (low + end) / 2
            if dataBlocks[middle] < block { low = middle + 1 } else { end = middle }
        }
        guard low < dataBlocks.count else { return nil }
        let first = dataBlocks[low]
        while end < dataBlocks.count, dataBlocks[end] == first + UInt64(end - low) { end += 1 }
        return first..<first + UInt64(end - low)
    }

    func read(_ blocks: Range<UInt64>, into buffer: UnsafeMutableRawBufferPointer) throws {
        precondition(blocks.upperBound <= blockCount && buffer.count == blocks.count * Fingerprint.byteCount)
        try state.withLockedValue { state in
            state.reads += 1
            for (index, block) in blocks.enumerated() {
                let start = index * Fingerprint.byteCount
                (state.fingerprints[block] ?? .zero).store(
                    into: .init(rebasing: buffer[start..<start + Fingerprint.byteCount]))
            }
            // A read that fails may have filled a part of the buffer.
            if state.isBroken { throw FileError("read", "an imagined disk", code: EIO) }
        }
    }
}
