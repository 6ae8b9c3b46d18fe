import NIOConcurrencyHelpers

/// The memory that prefixes of all arriving disks take together. A disk that finds no room arrives without one.
final class PrefixRoom: Sendable {
    /// Memory of one prefix, given back when nobody uses it any more.
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

    init(byteCount: Int = 512 << 20) {
        left = NIOLockedValueBox(byteCount)
    }

    /// - Returns: nil if there is too little room.
    func take(_ byteCount: Int) -> Part? {
        let isTaken = left.withLockedValue { left in
            guard left >= byteCount else { return false }
            left -= byteCount
            return true
        }
        return isTaken ? Part(byteCount, of: self) : nil
    }
}
