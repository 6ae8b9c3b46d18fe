import Block
import Index
import NIOCore

/// The first message on a connection.
public struct Hello: Sendable, Equatable {
    /// What the connection is for.
    public enum Purpose: UInt8, Sendable {
        /// Something that this release does not know.
        case unknown = 0
        /// To move a disk to the node that is called.
        case migrate = 1
        /// To send it requests for a disk that moves, or has moved, there.
        case forward = 2
        /// To answer its requests for blocks of such a disk that somebody waits for.
        case demand = 3
        /// To answer its requests for all other blocks of such a disk.
        case bulk = 4
        /// To ask what moving a disk there would take: as for `migrate`, up to the end of the manifest, and nothing is kept.
        case estimate = 5
    }

    static let magic: UInt64 = 0x6e65_6172_626c_6b32

    var support = ProtocolSupport.own
    var purpose: Purpose
    /// For all but `migrate` and `estimate`: the migration by which the disk moves; otherwise of no meaning.
    var migration: MigrationID
    /// For all but `migrate` and `estimate`: the caller has given the disk up for good, so the callee must take it over (invariant 5).
    var isCommitted = false
    /// For all but `migrate` and `estimate`.
    var export = ""
}

/// The answer to `Hello`.
public struct Welcome: Sendable, Equatable {
    var support = ProtocolSupport.own
    /// Bytes of a block here; fingerprints must be of such blocks.
    var blockSize: UInt32
    /// Changes when changes that were answered and not flushed may be lost; 0 where nobody can tell.
    var boot: UInt64 = 0
}

/// The disk that is to move.
public struct Offer: Sendable, Equatable {
    var migration: MigrationID
    /// Earlier attempts that the source has given up for certain: what is left of them may go.
    var abandoned: [MigrationID]
    var export: String
    var size: UInt64
    var blockSize: UInt32
    /// Of the neighbours that may be drawn on; none for all.
    var domains: [String] = []
    /// Only where both sides have `offerDetails`.
    var details: OfferDetails?

    /// Whether clients may not write to the disk.
    var isReadOnly: Bool { details?.isReadOnly ?? false }
}

/// Consecutive blocks.
public struct BlockRange: Sendable, Equatable {
    var first: UInt64
    var count: UInt64

    /// nil where the numbers overflow.
    var range: Range<UInt64>? {
        let (end, overflows) = first.addingReportingOverflow(count)
        return overflows ? nil : first..<end
    }
}

extension BlockRange {
    init(_ range: Range<UInt64>) {
        self.init(first: range.lowerBound, count: UInt64(range.count))
    }
}

/// What consecutive blocks are, as they were when they were read.
public struct ManifestSegment: Sendable, Equatable {
    /// What is said of a block.
    enum Entry: Sendable, Equatable {
        case zero
        /// The first half of its fingerprint. `Wants.check` makes sure of the other.
        case prefix(UInt64)
        /// It is being rewritten; it comes in a later round.
        case later
    }

    /// The most blocks of one segment.
    static let maximumBlocks = 4096

    var first: UInt64
    var entries: [Entry]

    /// One for each block; 0 where none is told.
    var prefixes: [UInt64] { entries.map { if case .prefix(let prefix) = $0 { prefix } else { 0 } } }
}

/// What consecutive blocks are, in groups, for a destination that has an older copy of the disk.
public struct ManifestSummary: Sendable, Equatable {
    /// Blocks of a group; the last of a segment may have fewer.
    static let groupBlocks = 32

    var first: UInt64
    /// Blocks; at most `ManifestSegment.maximumBlocks`.
    var count: Int
    /// `Fingerprint.combined` of each group; `.zero` for one that is being rewritten.
    var groups: [Fingerprint]

    /// How many groups that many blocks are.
    static func groups(of blocks: Int) -> Int { (blocks + groupBlocks - 1) / groupBlocks }

    /// The blocks of a group, counted from the first.
    static func blocks(of group: Int, of count: Int) -> Range<Int> {
        group * groupBlocks..<min(count, (group + 1) * groupBlocks)
    }

    /// The blocks of a group.
    func blocks(of group: Int) -> Range<UInt64> {
        let blocks = Self.blocks(of: group, of: count)
        return first + UInt64(blocks.lowerBound)..<first + UInt64(blocks.upperBound)
    }

    init(first: UInt64, count: Int, groups: [Fingerprint]) {
        self.first = first
        self.count = count
        self.groups = groups
    }

    /// Of a segment, whose blocks have `fingerprints`.
    init(of segment: ManifestSegment, _ fingerprints: [Fingerprint]) {
        let count = segment.entries.count
        let groups = (0..<Self.groups(of: count)).map { group in
            let blocks = Self.blocks(of: group, of: count)
            return segment.entries[blocks].contains(.later) ? .zero : Fingerprint.combined(fingerprints[blocks])
        }
        self.init(first: segment.first, count: count, groups: groups)
    }
}

/// Which groups of a summary are not what the destination has.
public struct ManifestDifferences: Sendable, Equatable {
    var first: UInt64
    /// For each group.
    var differs: [Bool]
    /// Bytes of the blocks of the others that are not zero.
    var present: UInt64

    /// Nothing of it is there.
    static func all(of summary: ManifestSummary) -> ManifestDifferences {
        ManifestDifferences(first: summary.first, differs: summary.groups.map { _ in true }, present: 0)
    }
}

extension Fingerprint {
    /// A hash of whole fingerprints; `.zero` of none.
    static func combined(_ fingerprints: some Sequence<Fingerprint>) -> Fingerprint {
        let words = fingerprints.flatMap { [$0.high.bigEndian, $0.low.bigEndian] }
        return words.isEmpty ? .zero : words.withUnsafeBytes { BlockHasher().fingerprint($0) }
    }
}

/// What the destination lacks of a manifest segment, and where it had the rest from.
public struct Wants: Sendable, Equatable {
    var first: UInt64
    /// For each block of the segment whether its bytes are wanted.
    var wanted: [Bool]
    /// Bytes that stood in the image already.
    var present: UInt64
    /// Bytes copied from elsewhere on the same disk.
    var repeated: UInt64
    /// Bytes copied from neighbours, or from other disks that came here.
    var neighbour: UInt64
    /// `Fingerprint.combined` of those blocks that have a prefix and are not wanted: where both sides come to the same,
    /// nobody has taken a block for another with the same prefix.
    var check = Fingerprint.zero
}

/// Whole fingerprints of consecutive blocks of an image that nobody writes to.
public struct BlockDescription: Sendable, Equatable {
    var first: UInt64
    /// `.zero` for a block of zeros.
    var fingerprints: [Fingerprint]
}

/// Blocks, and the next piece of the connection's one zstd stream, in which their bytes come behind those of all that was named
/// before: all in this piece, or where both sides have `latePieces` in later ones of the same round, which need not name any.
public struct DataSegment: Sendable, Equatable {
    /// The most bytes of blocks in one message.
    static let maximumBytes = 512 << 10

    /// Messages whose blocks may be named before their bytes come.
    static let mostAwaited = 1024

    var runs: [BlockRange]
    var compressed: ByteBuffer

    /// The same in as many messages as it takes.
    /// - Parameter length: bytes of the stream in one.
    func messages(of length: Int) -> [DataSegment] {
        var (rest, segments) = (compressed, [DataSegment]())
        repeat {
            let piece = rest.readSlice(length: min(rest.readableBytes, length))!
            segments.append(DataSegment(runs: segments.isEmpty ? runs : [], compressed: piece))
        } while rest.readableBytes > 0
        return segments
    }
}

/// A request of a client of the source, for the disk at the destination.
public struct RemoteRequest: Sendable, Equatable {
    var id: UInt64
    var kind: BlockRequest.Kind
    var isForced: Bool
    var mayPunchHole: Bool
    var offset: UInt64
    var length: UInt64
    var payload: ByteBuffer
}

/// How a `RemoteRequest` ended.
public struct RemoteAnswer: Sendable, Equatable {
    var id: UInt64
    /// 0 or a Linux `errno`.
    var error: Int32
    var payload: ByteBuffer
}
