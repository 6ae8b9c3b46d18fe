import CLibNBD

/// Collects the extents of one block status.
final class ExtentList {
    /// The most extents that are kept; what a server says beyond them is asked for again.
    private static let most = 4096

    /// Bytes that were asked for.
    let limit: UInt64
    /// Consecutive extents, at most `limit` bytes together.
    private(set) var extents: [BlockExtent] = []

    init(limit: UInt64) {
        self.limit = limit
    }

    /// The callback for the answer, which keeps this object alive.
    func callback() -> nbd_extent_callback {
        nbd_extent_callback(
            callback: { context, name, _, entries, count, _ in
                let list = Unmanaged<ExtentList>.fromOpaque(context!).takeUnretainedValue()
                if String(cString: name!) == NBDClientLink.allocation { list.append(entries!, count) }
                return 0
            },
            user_data: Unmanaged.passRetained(self).toOpaque(),
            free: { Unmanaged<ExtentList>.fromOpaque($0!).release() })
    }

    /// Adds pairs of a length and flags; the last may reach beyond the range.
    private func append(_ entries: UnsafePointer<UInt32>, _ count: Int) {
        var left = limit - extents.reduce(0) { $0 + $1.length }
        for index in stride(from: 0, to: count - 1, by: 2) where left > 0 && extents.count < Self.most {
            let length = min(UInt64(entries[index]), left)
            // An empty extent leaves no known place for those behind it.
            guard length > 0 else { return }
            left -= length
            extents.append(BlockExtent(length: length, state: BlockState(rawValue: UInt64(entries[index + 1]))))
        }
    }
}
