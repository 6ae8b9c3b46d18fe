import BlockModel
import Hashing
import MigrationProtocol
import NIOCore

/// The manifest segments that the destination has not answered yet, in the order of their answers.
package struct OpenSegments: Sendable {
    /// The meaning of an answer.
    package struct Answer: Equatable, Sendable {
        package let wants: Wants
        /// Expected compressed size of the wanted blocks, by their size.
        package var ratio = 1.0
        /// The blocks that are wanted; ascending.
        package var wanted: [UInt64] = []
        /// The blocks to be sent with this answer, ascending: those that are wanted, without free ones, which wait. Blocks of
        /// earlier answers that have waited may be among them.
        package var sending: [UInt64] = []
        /// Bytes of its blocks that are dealt with once `sending` has been sent, and of those of earlier answers.
        package var settled: UInt64 = 0
        /// Blocks of which at least one was mistaken for another, so that all of them must be sent; ascending.
        package var mistaken: [UInt64] = []

        /// All blocks that the answer is about.
        package var blocks: Range<UInt64> { wants.first..<wants.first + UInt64(wants.wanted.count) }
        /// Whether it is the last answer about blocks that were scanned together.
        package var isLast = true

        package init(
            wants: Wants, ratio: Double = 1.0, wanted: [UInt64] = [], sending: [UInt64]? = nil, settled: UInt64 = 0,
            mistaken: [UInt64] = [], isLast: Bool = true
        ) {
            self.wants = wants
            self.ratio = ratio
            self.wanted = wanted
            self.sending = sending ?? wanted
            self.settled = settled
            self.mistaken = mistaken
            self.isLast = isLast
        }
    }

    private struct Segment {
        package let first: UInt64
        /// Whole fingerprints; `.zero` for blocks that are not named.
        package let fingerprints: [Fingerprint]
        package let samples: CompressionSamples
        /// Whether it is the last part of blocks that were scanned together.
        package let isLast: Bool
    }

    private let geometry: BlockGeometry
    private var order: FreeBlocksLast
    /// The compressed size, in blocks, that the blocks which wait may come to, and their number.
    private var waiting = (weight: 0.0, blocks: 0.0)
    private var open = CircularBuffer<Segment>()
    /// Segments of which only a summary was sent.
    private var summaries = CircularBuffer<ScannedSegment>()
    /// Whether the scan has ended.
    private var isScanned = false
    /// Whether the destination has been told that nothing more comes.
    private var isWhole = false

    /// - Parameter free: blocks that are probably free; they are sent behind all others.
    package init(geometry: BlockGeometry, free: BlockSet? = nil) {
        self.geometry = geometry
        order = FreeBlocksLast(free: free ?? BlockSet(of: geometry.blockCount))
    }

    /// The wanted blocks that have been put off, once everything has been answered, and what they may come to compressed, by
    /// their size.
    package var putOff: (order: FreeBlocksLast, ratio: Double) {
        (order, waiting.blocks > 0 ? min(1, waiting.weight / waiting.blocks) : 1)
    }

    /// Adds a segment that is about to be sent.
    package mutating func add(_ segment: ScannedSegment) { add([segment]) }

    /// Adds all parts of a segment.
    private mutating func add(_ parts: [ScannedSegment]) {
        for (index, part) in parts.enumerated() {
            open.append(
                Segment(
                    first: part.manifest.first, fingerprints: part.fingerprints, samples: part.samples,
                    isLast: index == parts.count - 1))
        }
    }

    /// Adds a segment of which a summary is about to be sent.
    package mutating func addSummary(of segment: ScannedSegment) { summaries.append(segment) }

    /// Ends the scan: no further segment is added.
    /// - Returns: whether to tell the destination so now, behind the messages sent so far.
    package mutating func end() -> Bool {
        isScanned = true
        return takeEnd()
    }

    private mutating func takeEnd() -> Bool {
        guard isScanned, summaries.isEmpty, !isWhole else { return false }
        isWhole = true
        return true
    }

    /// Whether all segments were sent and answered.
    package var isAnswered: Bool { isWhole && open.isEmpty }

    /// The outcome of a summary.
    package struct Comparison: Sendable {
        /// Answers about the parts that need no more messages.
        package var settled: [Answer] = []
        /// Parts to be sent block by block, in this order; they have been added already.
        package var rest: [ScannedSegment] = []

        package init(settled: [Answer] = [], rest: [ScannedSegment] = []) {
            self.settled = settled
            self.rest = rest
        }
    }

    /// Handles the answer to the oldest summary, which stays the oldest until `endComparison`.
    /// - Throws: `MigrationError.unexpected` if the answer does not fit the summary.
    package mutating func compare(_ differences: ManifestDifferences) throws -> Comparison {
        guard let segment = summaries.first, differences.first == segment.manifest.first,
            differences.differs.count == ManifestSummary.groups(of: segment.fingerprints.count)
        else { throw MigrationError.unexpected("differences that answer no summary") }
        var comparison = Comparison()
        var present: UInt64 = 0
        var group = 0
        while group < differences.differs.count {
            let start = group
            let differs = differences.differs[start]
            while group < differences.differs.count, differences.differs[group] == differs { group += 1 }
            let count = segment.fingerprints.count
            let part = segment.part(
                ManifestSummary.blocks(of: start, of: count)
                    .lowerBound..<ManifestSummary.blocks(of: group - 1, of: count).upperBound)
            guard !differs else {
                comparison.rest.append(part)
                continue
            }
            let settled = try settled(part)
            present += settled.wants.present
            comparison.settled.append(settled)
        }
        guard present == differences.present else {
            throw MigrationError.unexpected("differences that don't add up to the summary")
        }
        add(comparison.rest)
        if comparison.rest.isEmpty { comparison.settled[comparison.settled.count - 1].isLast = true }
        return comparison
    }

    /// Records that the compared segment's differing parts have been sent.
    /// - Returns: whether to tell the destination now, behind them, that nothing more comes.
    package mutating func endComparison() -> Bool {
        summaries.removeFirst()
        return takeEnd()
    }

    /// Makes the answer about a part of which the destination has everything.
    private func settled(_ part: ScannedSegment) throws -> Answer {
        guard !part.manifest.entries.contains(.later) else {
            throw MigrationError.unexpected("blocks that were never told are taken for known")
        }
        let first = part.manifest.first
        let present = part.fingerprints.indices.reduce(into: 0 as UInt64) { sum, offset in
            let block = first + UInt64(offset)
            if part.fingerprints[offset] != .zero { sum += geometry.byteCount(of: block..<block + 1) }
        }
        let wants = Wants(
            first: first, wanted: Array(repeating: false, count: part.fingerprints.count), present: present,
            repeated: 0, neighbour: 0)
        let blocks = first..<first + UInt64(part.fingerprints.count)
        return Answer(wants: wants, settled: geometry.byteCount(of: blocks), isLast: false)
    }

    /// Puts off what is free.
    private mutating func divide(_ answer: inout Answer, _ segment: Segment) {
        answer.sending = order.next(answer.wanted) { segment.fingerprints[Int($0 - segment.first)].high }
        answer.settled = geometry.byteCount(of: answer.blocks)
        let blocks = answer.blocks
        let own = answer.sending.count { blocks.contains($0) }
        // A whole number of blocks: the last one of the disk, which may be short, counts as one.
        let blockSize = UInt64(geometry.blockSize)
        let late = UInt64(answer.wanted.count - own)
        let early = UInt64(answer.sending.count - own)
        answer.settled = answer.settled - min(answer.settled, late * blockSize) + early * blockSize
        waiting.blocks += Double(late) - Double(early)
        waiting.weight = max(0, waiting.weight + (Double(late) - Double(early)) * answer.ratio)
    }

    /// Handles the answer to the oldest segment. Every named block must be either wanted or found.
    /// - Throws: `MigrationError.unexpected` otherwise.
    package mutating func answer(_ wants: Wants) throws -> Answer {
        guard let segment = open.popFirst(), wants.first == segment.first,
            wants.wanted.count == segment.fingerprints.count
        else {
            throw MigrationError.unexpected("wants that answer no manifest")
        }
        var answer = Answer(wants: wants, isLast: segment.isLast)
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
        let blocks = answer.blocks
        answer.ratio = segment.samples.ratio { blocks.contains($0) && wants.wanted[Int($0 - blocks.lowerBound)] }
        divide(&answer, segment)
        if wants.check != Fingerprint.combined(found.lazy.map(\.fingerprint)) { answer.mistaken = found.map(\.block) }
        return answer
    }
}
