import BlockModel
import Hashing
import NIOCore

/// The first message on a connection.
public struct Hello: Sendable, Equatable {
    /// The purpose of a connection.
    public enum Purpose: UInt8, Sendable {
        /// A purpose that this release does not know.
        case unknown = 0
        /// To move a disk to the node that is called.
        case migrate = 1
        /// To send the callee requests for a disk that moves, or has moved, there.
        case forward = 2
        /// To answer the callee's requests for missing blocks that somebody waits for.
        case demand = 3
        /// To answer the callee's requests for all other missing blocks.
        case bulk = 4
        /// To estimate the cost of moving a disk to the callee. It goes like `migrate` up to the end of the manifest,
        /// and nothing is kept.
        case estimate = 5
    }

    package static let magic: UInt64 = 0x6e65_6172_626c_6b32

    package var support = ProtocolSupport.own
    package var purpose: Purpose
    /// The migration of the disk; meaningless for `migrate` and `estimate`.
    package var migration: MigrationID
    /// The caller has given the disk up for good, so the callee must take it over (invariant 5); not for `migrate` and
    /// `estimate`.
    package var isCommitted = false
    /// The name of the disk; empty for `migrate` and `estimate`.
    package var export = ""

    package init(
        support: ProtocolSupport = ProtocolSupport.own, purpose: Purpose, migration: MigrationID,
        isCommitted: Bool = false, export: String = ""
    ) {
        self.support = support
        self.purpose = purpose
        self.migration = migration
        self.isCommitted = isCommitted
        self.export = export
    }
}

/// The answer to `Hello`.
public struct Welcome: Sendable, Equatable {
    package var support = ProtocolSupport.own
    /// Bytes of a block here; fingerprints must be of such blocks.
    package var blockSize: UInt32
    /// Differs from before if changes that were answered and not flushed may be lost; 0 if unknown.
    package var boot: UInt64 = 0

    package init(support: ProtocolSupport = ProtocolSupport.own, blockSize: UInt32, boot: UInt64 = 0) {
        self.support = support
        self.blockSize = blockSize
        self.boot = boot
    }
}

/// The disk that is to move.
public struct Offer: Sendable, Equatable {
    package var migration: MigrationID
    /// Earlier attempts that the source has certainly given up; the destination may remove what is left of them.
    package var abandoned: [MigrationID]
    package var export: String
    package var size: UInt64
    package var blockSize: UInt32
    /// Domains of the neighbours that may be drawn on; empty for all.
    package var domains: [String] = []
    /// Present only if both sides have `offerDetails`.
    package var details: OfferDetails?

    package init(
        migration: MigrationID, abandoned: [MigrationID], export: String, size: UInt64, blockSize: UInt32,
        domains: [String] = [], details: OfferDetails? = nil
    ) {
        self.migration = migration
        self.abandoned = abandoned
        self.export = export
        self.size = size
        self.blockSize = blockSize
        self.domains = domains
        self.details = details
    }

    /// Whether clients may not write to the disk.
    package var isReadOnly: Bool { details?.isReadOnly ?? false }
}

/// Consecutive blocks.
public struct BlockRange: Sendable, Equatable {
    package var first: UInt64
    package var count: UInt64

    package init(first: UInt64, count: UInt64) {
        self.first = first
        self.count = count
    }

    /// nil where the numbers overflow.
    package var range: Range<UInt64>? {
        let (end, overflows) = first.addingReportingOverflow(count)
        return overflows ? nil : first..<end
    }
}

extension BlockRange {
    package init(_ range: Range<UInt64>) {
        self.init(first: range.lowerBound, count: UInt64(range.count))
    }
}

/// The contents of consecutive blocks at the moment when they were read.
public struct ManifestSegment: Sendable, Equatable {
    /// The content of one block.
    package enum Entry: Sendable, Equatable {
        case zero
        /// The first half of the block's fingerprint. `Wants.check` verifies the other half.
        case prefix(UInt64)
        /// The block is being rewritten; it comes in a later round.
        case later
    }

    /// The most blocks of one segment.
    package static let maximumBlocks = 4096

    package var first: UInt64
    package var entries: [Entry]

    package init(first: UInt64, entries: [Entry]) {
        self.first = first
        self.entries = entries
    }

    /// A prefix for each block; 0 if it has none.
    package var prefixes: [UInt64] { entries.map { if case .prefix(let prefix) = $0 { prefix } else { 0 } } }
}

/// The contents of consecutive blocks, in groups, for a destination that has an older copy of the disk.
public struct ManifestSummary: Sendable, Equatable {
    /// Blocks of a group; the last of a segment may have fewer.
    package static let groupBlocks = 32

    package var first: UInt64
    /// Blocks; at most `ManifestSegment.maximumBlocks`.
    package var count: Int
    /// `Fingerprint.combined` of each group; `.zero` for one that is being rewritten.
    package var groups: [Fingerprint]

    /// The number of groups of that many blocks.
    package static func groups(of blocks: Int) -> Int { (blocks + groupBlocks - 1) / groupBlocks }

    /// The blocks of a group, counted from the first.
    package static func blocks(of group: Int, of count: Int) -> Range<Int> {
        group * groupBlocks..<min(count, (group + 1) * groupBlocks)
    }

    /// The blocks of a group.
    package func blocks(of group: Int) -> Range<UInt64> {
        let blocks = Self.blocks(of: group, of: count)
        return first + UInt64(blocks.lowerBound)..<first + UInt64(blocks.upperBound)
    }

    package init(first: UInt64, count: Int, groups: [Fingerprint]) {
        self.first = first
        self.count = count
        self.groups = groups
    }

    /// Summarises a segment, whose blocks have `fingerprints`.
    package init(of segment: ManifestSegment, _ fingerprints: [Fingerprint]) {
        let count = segment.entries.count
        let groups = (0..<Self.groups(of: count)).map { group in
            let blocks = Self.blocks(of: group, of: count)
            return segment.entries[blocks].contains(.later) ? .zero : Fingerprint.combined(fingerprints[blocks])
        }
        self.init(first: segment.first, count: count, groups: groups)
    }
}

/// The groups of a summary that differ from what the destination has.
public struct ManifestDifferences: Sendable, Equatable {
    package var first: UInt64
    /// Whether each group differs.
    package var differs: [Bool]
    /// Bytes of non-zero blocks in the groups that do not differ.
    package var present: UInt64

    package init(first: UInt64, differs: [Bool], present: UInt64) {
        self.first = first
        self.differs = differs
        self.present = present
    }

    /// The answer if none of the summary's groups is there.
    package static func all(of summary: ManifestSummary) -> ManifestDifferences {
        ManifestDifferences(first: summary.first, differs: summary.groups.map { _ in true }, present: 0)
    }
}

extension Fingerprint {
    /// A hash of whole fingerprints; `.zero` of none.
    package static func combined(_ fingerprints: some Sequence<Fingerprint>) -> Fingerprint {
        let words = fingerprints.flatMap { [$0.high.bigEndian, $0.low.bigEndian] }
        return words.isEmpty ? .zero : words.withUnsafeBytes { BlockHasher().fingerprint($0) }
    }
}

/// The blocks of a manifest segment that the destination lacks, and the origin of the others.
public struct Wants: Sendable, Equatable {
    package var first: UInt64
    /// Whether each block's bytes are wanted.
    package var wanted: [Bool]
    /// Bytes that stood in the image already.
    package var present: UInt64
    /// Bytes copied from elsewhere on the same disk.
    package var repeated: UInt64
    /// Bytes copied from neighbours, or from other disks that came here.
    package var neighbour: UInt64
    /// `Fingerprint.combined` of those blocks that have a prefix and are not wanted. If both sides compute the same
    /// value, no block was mistaken for another with the same prefix.
    package var check = Fingerprint.zero

    package init(
        first: UInt64, wanted: [Bool], present: UInt64, repeated: UInt64, neighbour: UInt64,
        check: Fingerprint = Fingerprint.zero
    ) {
        self.first = first
        self.wanted = wanted
        self.present = present
        self.repeated = repeated
        self.neighbour = neighbour
        self.check = check
    }
}

/// Whole fingerprints of consecutive blocks of an image that nobody writes to.
public struct BlockDescription: Sendable, Equatable {
    package var first: UInt64
    /// `.zero` for a block of zeros.
    package var fingerprints: [Fingerprint]

    package init(first: UInt64, fingerprints: [Fingerprint]) {
        self.first = first
        self.fingerprints = fingerprints
    }
}

/// Blocks, and the next piece of the connection's one zstd stream. Their bytes come behind those of all blocks named
/// before, and are all in this piece. If both sides have `latePieces`, they may be in later pieces of the same round,
/// which need not name any block.
public struct DataSegment: Sendable, Equatable {
    /// The most bytes of blocks in one message.
    package static let maximumBytes = 512 << 10

    /// Messages whose blocks may be named before their bytes come.
    package static let mostAwaited = 1024

    package var runs: [BlockRange]
    package var compressed: ByteBuffer

    package init(runs: [BlockRange], compressed: ByteBuffer) {
        self.runs = runs
        self.compressed = compressed
    }

    /// The same segment, in as many messages as it takes.
    /// - Parameter length: the most bytes of the stream in one message.
    package func messages(of length: Int) -> [DataSegment] {
        var (rest, segments) = (compressed, [DataSegment]())
        repeat {
            let piece = rest.readSlice(length: min(rest.readableBytes, length))!
            segments.append(DataSegment(runs: segments.isEmpty ? runs : [], compressed: piece))
        } while rest.readableBytes > 0
        return segments
    }
}

/// A request of a client of the source, for the disk at the destination.
public struct ForwardRequest: Sendable, Equatable {
    package var id: UInt64
    package var kind: RequestKind
    package var isForced: Bool
    package var mayPunchHole: Bool
    package var offset: UInt64
    package var length: UInt64
    package var payload: ByteBuffer

    package init(
        id: UInt64, kind: RequestKind, isForced: Bool, mayPunchHole: Bool, offset: UInt64, length: UInt64,
        payload: ByteBuffer
    ) {
        self.id = id
        self.kind = kind
        self.isForced = isForced
        self.mayPunchHole = mayPunchHole
        self.offset = offset
        self.length = length
        self.payload = payload
    }
}

/// The outcome of a `ForwardRequest`.
public struct ForwardAnswer: Sendable, Equatable {
    package var id: UInt64
    /// 0 or a Linux `errno`.
    package var error: Int32
    package var payload: ByteBuffer

    package init(id: UInt64, error: Int32, payload: ByteBuffer) {
        self.id = id
        self.error = error
        self.payload = payload
    }
}
