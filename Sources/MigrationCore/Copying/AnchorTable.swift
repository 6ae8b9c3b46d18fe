/// Remembers places of a disk's data by what stands before them, to tell which blocks of another disk resemble it.
///
/// An anchor is a place where a hash over the last 64 bytes has certain bits, about one of 128. So both disks have the same
/// anchors in the same data, however that is shifted. Matches of 64 bytes are what zstd's search for long repeats
/// finds.
package struct AnchorTable: Sendable {
    /// Bytes of data for each anchor, on average.
    package static let interval = 128
    private static let mask: UInt64 = 127 << 57
    /// Anchors that the table holds; more displace others. 16 MiB of memory.
    private static let sizeLog: UInt64 = 22
    /// Bytes over which an anchor's hash goes.
    private static let reach = 64

    /// A random number for each byte value.
    private static let gear: [UInt64] = {
        var state: UInt64 = 88_172_645_463_325_252
        return (0..<256).map { _ in
            state ^= state << 13
            state ^= state >> 7
            state ^= state << 17
            return state
        }
    }()

    private var tags = [UInt32](repeating: 0, count: 1 << Int(sizeLog))

    package init() {}

    /// Notes the anchors of consecutive bytes.
    package mutating func add(_ bytes: UnsafeRawBufferPointer) {
        tags.withUnsafeMutableBufferPointer { tags in
            Self.forEachAnchor(of: bytes) { place, tag in tags[place] = tag }
        }
    }

    /// The number of anchors that have been noted and stand in consecutive bytes. They are forgotten: each counts once.
    package mutating func take(_ bytes: UnsafeRawBufferPointer) -> Int {
        tags.withUnsafeMutableBufferPointer { tags in
            var count = 0
            Self.forEachAnchor(of: bytes) { place, tag in
                guard tags[place] == tag else { return }
                tags[place] = 0
                count += 1
            }
            return count
        }
    }

    @inline(__always)
    private static func forEachAnchor(of bytes: UnsafeRawBufferPointer, _ body: (Int, UInt32) -> Void) {
        gear.withUnsafeBufferPointer { gear in
            var hash: UInt64 = 0
            for index in 0..<bytes.count {
                hash = hash << 1 &+ gear[Int(bytes[index])]
                guard hash & mask == 0, index >= reach else { continue }
                let mixed = hash &* 0x9e37_79b9_7f4a_7c15
                body(Int(mixed >> (64 - sizeLog)), UInt32(truncatingIfNeeded: mixed) | 1)
            }
        }
    }
}
