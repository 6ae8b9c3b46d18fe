import NIOConcurrencyHelpers

/// The memory that prefixes of all arriving disks take together, with the longer windows of the frames that refer to them. A disk
/// that finds no room arrives without one.
final class PrefixRoom: Sendable {
    /// Memory of one prefix and its window, given back when nobody uses it any more.
    final class Part: Sendable {
        private let room: PrefixRoom
        private let byteCount: Int

        fileprivate init(_ byteCount: Int, of room: PrefixRoom) {
            self.byteCount = byteCount
            self.room = room
        }

        deinit { room.left.withLockedValue { $0 += byteCount } }
    }

    private let left: NIOLockedValueBox<Int>
    private let windowBytes: Int

    /// - Parameters:
    ///   - byteCount: of all prefixes and windows.
    ///   - windowBytes: what the window of a frame takes more if there is a prefix.
    init(byteCount: Int = 512 << 20, windowBytes: Int = ZstdParameters.prefixWindowBytes) {
        left = NIOLockedValueBox(byteCount)
        self.windowBytes = windowBytes
    }

    /// - Parameter prefixBytes: of the prefix alone.
    /// - Returns: nil if there is too little room.
    func take(_ prefixBytes: Int) -> Part? {
        let byteCount = prefixBytes + windowBytes
        let isTaken = left.withLockedValue { left in
            guard left >= byteCount else { return false }
            left -= byteCount
            return true
        }
        return isTaken ? Part(byteCount, of: self) : nil
    }
}
