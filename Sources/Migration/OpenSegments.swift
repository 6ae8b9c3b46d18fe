import Block
import NIOConcurrencyHelpers

/// The manifest segments that the destination has not answered yet, in the order in which it must answer them.
final class OpenSegments: Sendable {
    private struct Segment {
        let first: UInt64
        let count: Int
        /// Of the blocks that have a fingerprint.
        let bytes: UInt64
    }

    private let geometry: BlockGeometry
    private let segments = NIOLockedValueBox<[Segment]>([])

    init(geometry: BlockGeometry) {
        self.geometry = geometry
    }

    /// Notes a segment that is about to be sent.
    func add(_ segment: ManifestSegment) {
        var bytes: UInt64 = 0
        for (offset, entry) in segment.entries.enumerated() {
            guard case .fingerprint = entry else { continue }
            bytes += self.bytes(of: segment.first + UInt64(offset))
        }
        let open = Segment(first: segment.first, count: segment.entries.count, bytes: bytes)
        segments.withLockedValue { $0.append(open) }
    }

    /// Takes the answer to the oldest segment: every block of it must be wanted or have been found, no more and no less.
    /// - Returns: the wanted blocks.
    /// - Throws: `MigrationError.unexpected` where that is not so.
    func answer(_ wants: Wants) throws -> [UInt64] {
        let segment = segments.withLockedValue { $0.isEmpty ? nil : $0.removeFirst() }
        guard let segment, wants.first == segment.first, wants.wanted.count == segment.count else {
            throw MigrationError.unexpected("wants that answer no manifest")
        }
        let blocks = wants.wanted.indices.filter { wants.wanted[$0] }.map { wants.first + UInt64($0) }
        var total = blocks.reduce(0 as UInt64) { $0 + bytes(of: $1) }
        for part in [wants.present, wants.repeated, wants.neighbour] {
            let (sum, overflows) = total.addingReportingOverflow(part)
            guard !overflows else { throw MigrationError.unexpected("wants of more than there is") }
            total = sum
        }
        guard total == segment.bytes else {
            throw MigrationError.unexpected("wants that don't add up to the manifest")
        }
        return blocks
    }

    private func bytes(of block: UInt64) -> UInt64 {
        geometry.byteCount(of: block..<block + 1)
    }
}
