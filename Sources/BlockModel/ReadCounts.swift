import Glibc
import Synchronization

/// Counts how often each part of a disk is read. It is an estimate: two loops that count at the same moment may count
/// once.
///
/// `@unchecked Sendable`: the memory is allocated once, freed once, and reached only through atomics.
public final class ReadCounts: @unchecked Sendable {
    /// The most parts of a disk.
    private static let mostParts: UInt64 = 1 << 20
    /// The fewest bytes of a part.
    private static let smallestPart: UInt64 = 1 << 20

    private let size: UInt64
    private let part: UInt64
    private let shift: UInt64
    private let counts: UnsafeMutablePointer<Atomic<UInt32>>
    private let parts: Int

    /// Starts with no reads of a disk of `size` bytes.
    package init(size: UInt64) {
        self.size = size
        part = Self.part(of: size)
        assert(part.nonzeroBitCount == 1)
        shift = UInt64(part.trailingZeroBitCount)
        parts = Int(size / part + (size % part == 0 ? 0 : 1))
        // calloc's memory is zero without having been touched, as in `AtomicBitmap`.
        counts = calloc(max(parts, 1), MemoryLayout<Atomic<UInt32>>.stride)!
            .assumingMemoryBound(to: Atomic<UInt32>.self)
    }

    /// Carries the counts over to the same disk at another size, `size` bytes.
    package convenience init(size: UInt64, from old: ReadCounts) {
        self.init(size: size)
        for index in 0..<old.parts {
            let count = old.counts[index].load(ordering: .relaxed)
            let target = Int(UInt64(index) * old.part / part)
            guard count > 0, target < parts else { continue }
            let sum = counts[target].load(ordering: .relaxed).addingReportingOverflow(count)
            counts[target].store(sum.overflow ? .max : sum.partialValue, ordering: .relaxed)
        }
    }

    deinit { free(counts) }

    /// Bytes of a part of a disk of `size` bytes: a power of two.
    public static func part(of size: UInt64) -> UInt64 {
        var part = smallestPart
        while size / part >= mostParts { part *= 2 }
        return part
    }

    /// Counts a read of these bytes.
    package func note(offset: UInt64, length: UInt64) {
        guard length > 0, offset < size else { return }
        var index = Int(offset &>> shift)
        let last = Int((offset + length - 1) &>> shift)
        while index <= last, index < parts {
            // No read-modify-write: a count that is lost now and then costs less than a locked bus with every read.
            let count = counts[index].load(ordering: .relaxed)
            if count < .max { counts[index].store(count + 1, ordering: .relaxed) }
            index += 1
        }
    }

    /// The byte ranges of the parts that were read most, in falling order. Parts that were never read are left out.
    /// - Parameter limit: the most ranges to return.
    public func mostRead(limit: Int) -> [Range<UInt64>] {
        (0..<parts).lazy.map { [counts] in (part: $0, count: counts[$0].load(ordering: .relaxed)) }
            .filter { $0.count > 0 }
            .sorted { ($0.count, $1.part) > ($1.count, $0.part) }
            .prefix(limit)
            .map { [size, part] in
                let start = UInt64($0.part) * part
                return start..<start + min(part, size - start)
            }
    }
}
