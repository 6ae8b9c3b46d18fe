import NIOConcurrencyHelpers

/// Divides an image among the threads of a scan: each takes the next segment that may hold data.
final class ScanCursor: Sendable {
    /// A range to read: whole blocks, except at the end of a disk with a short last block.
    struct Segment: Sendable {
        let range: Range<UInt64>
        /// Ranges to pass to `ImageSource.release`.
        let readAhead: [Range<UInt64>]
    }

    /// Bytes; large enough for a disk's full speed, small enough to keep all threads busy to the end.
    static let segment: UInt64 = 1 << 20
    /// Segments that are read ahead.
    private static let window = 48

    private struct State {
        /// All bytes before it are in `ahead`, handed out, or in a hole. A multiple of the block size until the end.
        var position: UInt64 = 0
        var extent: Range<UInt64> = 0..<0
        var ahead: [Segment] = []
        var isStopped = false
    }

    private let source: any ImageSource
    private let blockSize: UInt64
    private let pace: Pace?
    private let state = NIOLockedValueBox(State())

    init(source: any ImageSource, blockSize: Int, pace: Pace? = nil) {
        self.source = source
        self.blockSize = UInt64(blockSize)
        self.pace = pace
    }

    /// Takes the next segment; nil at the end.
    func next() throws -> Segment? {
        let segment = try state.withLockedValue { state -> Segment? in
            guard !state.isStopped else { return nil }
            if state.ahead.count < Self.window / 2 { try readAhead(&state) }
            return state.ahead.isEmpty ? nil : state.ahead.removeFirst()
        }
        if let segment { pace?.wait(for: segment.range.count) }
        return segment
    }

    /// Ends the scan for all threads.
    func stop() {
        state.withLockedValue { $0.isStopped = true }
    }

    private func readAhead(_ state: inout State) throws {
        while state.ahead.count < Self.window {
            if state.position >= state.extent.upperBound {
                guard let data = try source.nextData(from: state.position) else {
                    state.position = source.size
                    return
                }
                state.extent = data.lowerBound / blockSize * blockSize..<roundUp(data.upperBound)
                state.position = max(state.position, state.extent.lowerBound)
                continue
            }
            let range = state.position..<min(state.position + Self.segment, state.extent.upperBound)
            state.position = range.upperBound
            state.ahead.append(Segment(range: range, readAhead: source.readAhead(range)))
        }
    }

    private func roundUp(_ offset: UInt64) -> UInt64 {
        let rest = offset % blockSize
        return rest == 0 ? offset : min(source.size, offset + (blockSize - rest))
    }
}
