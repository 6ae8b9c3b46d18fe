import Hashing
import NIOCore

/// As `MessageCodec`, for the messages of post-copy: a second type byte, then the fields.
extension PostcopyMessage {
    private enum Kind: UInt8 {
        case expect = 1, dirty, leave, switchNow, missing
        case describe = 16, need, replaced, verify, complete, rank, describeRuns, left
        case unreadable = 32, verified, released, description, mostRead, free
    }

    /// Whether a message with this second type byte tells what the source leaves at the switchover.
    static func belongsToSwitchover(_ kind: UInt8) -> Bool {
        kind == Kind.dirty.rawValue || kind == Kind.leave.rawValue
    }

    package func encode(into out: inout ByteBuffer) {
        switch self {
        case .expect(let switchover): out.writeMultipleIntegers(Kind.expect.rawValue, switchover.code)
        case .dirty(let runs): Self.write(.dirty, runs, into: &out)
        case .leave: out.writeInteger(Kind.leave.rawValue)
        case .switchNow: out.writeInteger(Kind.switchNow.rawValue)
        case .missing(let runs): Self.write(.missing, runs, into: &out)
        case .rank: out.writeInteger(Kind.rank.rawValue)
        case .describe(let runs) where runs.count == 1:
            out.writeMultipleIntegers(Kind.describe.rawValue, runs[0].first, runs[0].count)
        case .describe(let runs): Self.write(.describeRuns, runs, into: &out)
        case .need(let runs): Self.write(.need, runs, into: &out)
        case .replaced(let runs): Self.write(.replaced, runs, into: &out)
        case .verify: out.writeInteger(Kind.verify.rawValue)
        case .left(let missing, let milliseconds):
            out.writeMultipleIntegers(Kind.left.rawValue, missing, milliseconds ?? .max)
        case .complete(let ledger):
            out.writeMultipleIntegers(
                Kind.complete.rawValue, ledger.zero, ledger.present, ledger.repeated, ledger.neighbour, ledger.link)
        case .unreadable(let range, let error):
            out.writeMultipleIntegers(Kind.unreadable.rawValue, range.first, range.count, error)
        case .verified(let root):
            out.writeInteger(Kind.verified.rawValue)
            out.writeBytes(root.bytes)
        case .released: out.writeInteger(Kind.released.rawValue)
        case .mostRead(let ranges): Self.write(.mostRead, ranges, into: &out)
        case .free(let runs): Self.write(.free, runs, into: &out)
        case .description(let description):
            out.writeInteger(Kind.description.rawValue)
            description.encode(into: &out)
        }
    }

    package init?(from input: inout ByteBuffer) {
        guard let type: UInt8 = input.readInteger(), let kind = Kind(rawValue: type),
            let message = Self.decode(kind, &input)
        else { return nil }
        self = message
    }

    private static func decode(_ kind: Kind, _ input: inout ByteBuffer) -> PostcopyMessage? {
        switch kind {
        case .expect: input.readInteger(as: UInt8.self).flatMap(Switchover.init(code:)).map { .expect($0) }
        case .dirty: readRuns(from: &input).map { .dirty($0) }
        case .leave: .leave
        case .switchNow: .switchNow
        case .missing: readRuns(from: &input).map { .missing($0) }
        case .rank: .rank
        case .describe: readRange(from: &input).map { .describe([$0]) }
        case .describeRuns: readRuns(from: &input).map { .describe($0) }
        case .need: readRuns(from: &input).map { .need($0) }
        case .replaced: readRuns(from: &input).map { .replaced($0) }
        case .verify: .verify
        case .left:
            input.readMultipleIntegers(as: (UInt64, UInt32).self).map {
                .left(missing: $0.0, milliseconds: $0.1 == .max ? nil : $0.1)
            }
        case .complete:
            input.readMultipleIntegers(as: (UInt64, UInt64, UInt64, UInt64, UInt64).self).map {
                .complete(Ledger(zero: $0.0, present: $0.1, repeated: $0.2, neighbour: $0.3, link: $0.4))
            }
        case .unreadable:
            input.readMultipleIntegers(as: (UInt64, UInt64, Int32).self).map {
                .unreadable(BlockRange(first: $0.0, count: $0.1), error: $0.2)
            }
        case .verified: DiskRoot(from: &input).map { .verified($0) }
        case .released: .released
        case .mostRead: readRuns(from: &input).map { .mostRead($0) }
        case .free: readRuns(from: &input).map { .free($0) }
        case .description: BlockDescription(from: &input).map { .description($0) }
        }
    }

    private static func write(_ kind: Kind, _ runs: [BlockRange], into out: inout ByteBuffer) {
        precondition(runs.count <= maximumRuns)
        out.writeMultipleIntegers(kind.rawValue, UInt32(runs.count))
        for run in runs { out.writeMultipleIntegers(run.first, run.count) }
    }

    private static func readRuns(from input: inout ByteBuffer) -> [BlockRange]? {
        guard let count: UInt32 = input.readInteger(), count <= maximumRuns, Int(count) * 16 <= input.readableBytes
        else { return nil }
        return (0..<count).map { _ in
            let (first, count) = input.readMultipleIntegers(as: (UInt64, UInt64).self)!
            return BlockRange(first: first, count: count)
        }
    }

    private static func readRange(from input: inout ByteBuffer) -> BlockRange? {
        input.readMultipleIntegers(as: (UInt64, UInt64).self).map { BlockRange(first: $0.0, count: $0.1) }
    }
}

extension BlockDescription {
    /// A bit for each block, then the fingerprints of those that are not zero.
    fileprivate func encode(into out: inout ByteBuffer) {
        out.writeMultipleIntegers(first, UInt32(fingerprints.count))
        out.writeBits(fingerprints.map { $0 != .zero })
        for fingerprint in fingerprints where fingerprint != .zero { out.writeFingerprint(fingerprint) }
    }

    fileprivate init?(from input: inout ByteBuffer) {
        guard let (first, count) = input.readMultipleIntegers(as: (UInt64, UInt32).self),
            (1...ManifestSegment.maximumBlocks).contains(Int(count)), let bits = input.readBits(Int(count))
        else { return nil }
        var fingerprints: [Fingerprint] = []
        fingerprints.reserveCapacity(Int(count))
        for isSet in bits {
            guard isSet else {
                fingerprints.append(.zero)
                continue
            }
            guard let fingerprint = input.readFingerprint() else { return nil }
            fingerprints.append(fingerprint)
        }
        self.init(first: first, fingerprints: fingerprints)
    }
}
