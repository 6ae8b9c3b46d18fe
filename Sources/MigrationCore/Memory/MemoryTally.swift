/// The pages of a memory stream by the origin of their bytes.
package struct MemoryTally: Equatable, Sendable {
    /// Bytes of the stream.
    package var stream: UInt64 = 0
    /// Bytes of the stream that are no pages or headers of pages.
    package var bytes: UInt64 = 0
    /// Pages of zeros.
    package var zeros: UInt64 = 0
    /// Pages that are blocks of a disk.
    package var disk: UInt64 = 0
    /// Pages that were sent before.
    package var sent: UInt64 = 0
    /// Pages whose bytes crossed the link.
    package var pages: UInt64 = 0

    package init() {}

    /// Adds what a run describes.
    mutating func add(_ run: MemoryRun) {
        let count = UInt64(run.count)
        stream += count * UInt64(run.pieceBytes)
        switch run.source {
        case .bytes: bytes += count
        case .zeros: zeros += count
        case .disk: disk += count
        case .sent: sent += count
        case .pages: pages += count
        }
    }

    package static func + (left: MemoryTally, right: MemoryTally) -> MemoryTally {
        var sum = left
        sum.stream += right.stream
        sum.bytes += right.bytes
        sum.zeros += right.zeros
        sum.disk += right.disk
        sum.sent += right.sent
        sum.pages += right.pages
        return sum
    }
}
