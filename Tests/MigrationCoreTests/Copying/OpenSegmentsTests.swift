import TestSupport
import Testing

@testable import BlockModel
@testable import Hashing
@testable import MigrationCore
@testable import MigrationProtocol

@Suite struct OpenSegmentsTests {
    private static let geometry = BlockGeometry(size: 1 << 20, blockSize: 4096)!

    /// 100 blocks from block 10 on: every third is zero, and the named ones are being rewritten.
    private func segment(later: Set<Int> = []) -> ScannedSegment {
        let fingerprints = (0..<100).map {
            $0 % 3 == 0 || later.contains($0) ? Fingerprint.zero : Fingerprint(high: UInt64($0), low: 7)
        }
        let entries = fingerprints.indices.map { index -> ManifestSegment.Entry in
            if later.contains(index) { return .later }
            return fingerprints[index] == .zero ? .zero : .prefix(fingerprints[index].high)
        }
        return ScannedSegment(
            manifest: ManifestSegment(first: 10, entries: entries), fingerprints: fingerprints, zeroBytes: 0)
    }

    /// What is wanted is unlike what is not.
    @Test func samplesOfWhatIsWantedCount() throws {
        let samples = CompressionSamples(samples: [
            .init(blocks: Array(8..<12), ratio: 1), .init(blocks: Array(50..<54), ratio: 0.01),
            .init(blocks: Array(108..<112), ratio: 1),
        ])
        func ratio(_ wanted: Range<UInt64>) throws -> Double {
            var open = OpenSegments(geometry: Self.geometry)
            let fingerprints = Array(repeating: Fingerprint(high: 1, low: 7), count: 100)
            open.add(
                ScannedSegment(
                    manifest: ManifestSegment(first: 10, entries: fingerprints.map { .prefix($0.high) }),
                    fingerprints: fingerprints, zeroBytes: 0, samples: samples))
            let flags = (0..<100).map { wanted.contains(10 + UInt64($0)) }
            return try open.answer(
                Wants(
                    first: 10, wanted: flags, present: UInt64(100 - wanted.count) * 4096, repeated: 0, neighbour: 0)
            ).ratio
        }
        #expect(try ratio(10..<12) == 1)
        #expect(try ratio(40..<60) < 0.01)
        #expect(try (0.3..<0.4).contains(ratio(10..<110)), "four of eight")
        #expect(try (0.5..<0.6).contains(ratio(20..<30)), "no sample is of these, and all count alike")
    }

    private func bytes(_ segment: ScannedSegment, _ groups: Set<Int>) -> UInt64 {
        UInt64(segment.fingerprints.indices.count { segment.fingerprints[$0] != .zero && groups.contains($0 / 32) })
            * 4096
    }

    /// Every set of groups that may differ: what differs is told, all else is settled, each block once.
    @Test func whatDiffersIsToldAndTheRestIsSettled() throws {
        for same in 0..<16 {
            var open = OpenSegments(geometry: Self.geometry)
            let segment = segment()
            open.addSummary(of: segment)
            let isEarly = open.end()
            #expect(!isEarly, "the summary is not answered yet")
            let groups = Set((0..<4).filter { same & 1 << $0 != 0 })
            let present = bytes(segment, groups)
            let comparison = try open.compare(
                ManifestDifferences(first: 10, differs: (0..<4).map { !groups.contains($0) }, present: present))
            // Not before the rest is on its way.
            let isEnd = open.end()
            #expect(!isEnd)
            let isLast = open.endComparison()
            #expect(isLast)
            let covered =
                comparison.settled.map(\.blocks)
                + comparison.rest.map {
                    $0.manifest.first..<$0.manifest.first + UInt64($0.manifest.entries.count)
                }
            #expect(covered.flatMap { Array($0) }.sorted() == Array(10..<110))
            for part in comparison.rest {
                let start = Int(part.manifest.first - 10)
                #expect(part.fingerprints[...] == segment.fingerprints[start..<start + part.fingerprints.count])
                #expect(part.manifest.entries[...] == segment.manifest.entries[start..<start + part.fingerprints.count])
            }
            #expect(comparison.settled.reduce(0) { $0 + $1.wants.present } == present)
            #expect(comparison.settled.count(where: \.isLast) == (same == 15 ? 1 : 0))
            #expect(open.isAnswered == comparison.rest.isEmpty)
        }
    }

    @Test func answersThatDoNotAddUpAreRefused() {
        let later = segment(later: [5])
        let wrong: [(ScannedSegment, ManifestDifferences)] = [
            (segment(), ManifestDifferences(first: 11, differs: [true, true, true, true], present: 0)),
            (segment(), ManifestDifferences(first: 10, differs: [true, true, true], present: 0)),
            (segment(), ManifestDifferences(first: 10, differs: [true, true, true, true], present: 1)),
            (segment(), ManifestDifferences(first: 10, differs: [false, true, true, true], present: 0)),
            (later, ManifestDifferences(first: 10, differs: [false, true, true, true], present: bytes(later, [0]))),
        ]
        for (segment, answer) in wrong {
            var open = OpenSegments(geometry: Self.geometry)
            open.addSummary(of: segment)
            #expect(throws: MigrationError.self) { try open.compare(answer) }
        }
        var open = OpenSegments(geometry: Self.geometry)
        #expect(throws: MigrationError.self) {
            try open.compare(ManifestDifferences(first: 10, differs: [true], present: 0))
        }
        let isEnd = open.end()
        #expect(isEnd && open.isAnswered)
    }

    /// A group that is being rewritten has no hash of its own that could be taken for that of others.
    @Test func aSummaryClaimsNothingOfWhatIsBeingRewritten() {
        let summary = ManifestSummary(of: segment(later: [40]).manifest, segment(later: [40]).fingerprints)
        #expect(summary.count == 100 && summary.groups.count == 4)
        #expect(summary.groups.map { $0 == .zero } == [false, true, false, false])
        #expect(summary.blocks(of: 3) == 106..<110)
    }
}
