import Block
import Index
import NIOConcurrencyHelpers
import NIOCore

/// The manifest segments that the destination has not answered yet, in the order in which it must answer them.
final class OpenSegments: Sendable {
    /// What an answer means.
    struct Answer: Equatable, Sendable {
        let wants: Wants
        /// What its blocks may come to compressed, by their size.
        let ratio: Double
        /// The blocks that are wanted; ascending.
        var wanted: [UInt64] = []
        /// Blocks of which at least one was taken for another, so that they must all be sent; ascending.
        var mistaken: [UInt64] = []

        /// All that it is about.
        var blocks: Range<UInt64> { wants.first..<wants.first + UInt64(wants.wanted.count) }
    }

    private struct Segment {
        let first: UInt64
        /// Whole ones; `.zero` for blocks that are not named.
        let fingerprints: [Fingerprint]
        let ratio: Double
    }

    private let geometry: BlockGeometry
    private let segments = NIOLockedValueBox<(open: CircularBuffer<Segment>, isWhole: Bool)>((CircularBuffer(), false))

    init(geometry: BlockGeometry) {
        self.geometry = geometry
    }

    /// Notes a segment that is about to be sent.
    func add(_ segment: ScannedSegment) {
        let open = Segment(
            first: segment.manifest.first, fingerprints: segment.fingerprints, ratio: segment.ratio)
        segments.withLockedValue { $0.open.append(open) }
    }

    /// No further segment will be sent.
    func end() { segments.withLockedValue { $0.isWhole = true } }

    /// Whether all were sent and answered.
    var isAnswered: Bool { segments.withLockedValue { $0.isWhole && $0.open.isEmpty } }

    /// Takes the answer to the oldest segment: every block of it that is named must be wanted or have been found.
    /// - Throws: `MigrationError.unexpected` where that is not so.
    func answer(_ wants: Wants) throws -> Answer {
        let segment = segments.withLockedValue { $0.open.popFirst() }
        guard let segment, wants.first == segment.first, wants.wanted.count == segment.fingerprints.count else {
            throw MigrationError.unexpected("wants that answer no manifest")
        }
        var answer = Answer(wants: wants, ratio: segment.ratio)
        var found: [(block: UInt64, fingerprint: Fingerprint)] = []
        var total: UInt64 = 0
        for (offset, fingerprint) in segment.fingerprints.enumerated() {
            let block = segment.first + UInt64(offset)
            if wants.wanted[offset] {
                answer.wanted.append(block)
            } else if fingerprint != .zero {
                found.append((block, fingerprint))
                total += geometry.byteCount(of: block..<block + 1)
            }
        }
        var sum: UInt64 = 0
        for part in [wants.present, wants.repeated, wants.neighbour] {
            let (next, overflows) = sum.addingReportingOverflow(part)
            guard !overflows else { throw MigrationError.unexpected("wants of more than there is") }
            sum = next
        }
        guard sum == total else { throw MigrationError.unexpected("wants that don't add up to the manifest") }
        if wants.check != Wants.check(of: found.lazy.map(\.fingerprint)) { answer.mistaken = found.map(\.block) }
        return answer
    }
}
