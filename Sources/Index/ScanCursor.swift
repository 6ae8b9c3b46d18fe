import Block
import Glibc
import NIOConcurrencyHelpers

/// Shares an image out among the threads of a scan: each takes the next segment that may hold data.
final class ScanCursor: Sendable {
    /// Large enough for a disk's full speed, small enough to keep all threads busy to the end.
    static let segment: UInt64 = 1 << 20
    private static let window: UInt64 = 16 << 20

    private struct State {
        /// Everything before it is handed out or a hole; a multiple of the block size until the end.
        var position: UInt64 = 0
        var extent: Range<UInt64> = 0..<0
        /// The kernel has been asked to read up to here.
        var advised: UInt64 = 0
        var isStopped = false
    }

    private let image: RawImage
    private let blockSize: UInt64
    private let state = NIOLockedValueBox(State())

    init(image: RawImage, blockSize: Int) {
        self.image = image
        self.blockSize = UInt64(blockSize)
        posix_fadvise(image.descriptor, 0, 0, POSIX_FADV_SEQUENTIAL)
    }

    /// The next bytes to read: whole blocks, but for the end of a disk with a short tail. Nil at the end.
    func next() throws -> Range<UInt64>? {
        try state.withLockedValue { state in
            guard !state.isStopped else { return nil }
            if state.position >= state.extent.upperBound {
                guard let data = try image.nextData(from: state.position) else {
                    state.position = image.size
                    return nil
                }
                state.extent = data.lowerBound / blockSize * blockSize..<roundUp(data.upperBound)
                state.position = state.extent.lowerBound
            }
            let end = min(state.position + Self.segment, state.extent.upperBound)
            defer { state.position = end }
            readAhead(&state)
            return state.position..<end
        }
    }

    /// Ends the scan: the others get no more segments.
    func stop() {
        state.withLockedValue { $0.isStopped = true }
    }

    private func roundUp(_ offset: UInt64) -> UInt64 {
        let rest = offset % blockSize
        return rest == 0 ? offset : min(image.size, offset + (blockSize - rest))
    }

    /// Several threads that take turns don't look sequential to the kernel, so it is told; never beyond the
    /// data, for holes would only fill the page cache.
    private func readAhead(_ state: inout State) {
        let start = max(state.position, state.advised)
        guard start < state.position + Self.window / 2, start < state.extent.upperBound else { return }
        state.advised = min(state.position + Self.window, state.extent.upperBound)
        posix_fadvise(image.descriptor, off_t(start), off_t(state.advised - start), POSIX_FADV_WILLNEED)
    }
}
