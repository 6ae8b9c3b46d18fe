import Hashing
import NIOCore

// The fields of the messages that copy a disk. docs/protocol.md, "Copying".

extension BlockRange {
    init?(from input: inout ByteBuffer) {
        guard let (first, count) = input.readMultipleIntegers(as: (UInt64, UInt64).self) else { return nil }
        self.init(first: first, count: count)
    }
}

extension ManifestSegment {
    /// Two bits a block, then the prefixes of those that have one.
    func encode(into out: inout ByteBuffer) {
        out.writeMultipleIntegers(Message.Kind.manifest.rawValue, first, UInt32(entries.count))
        var packed = [UInt8](repeating: 0, count: (entries.count + 3) / 4)
        for (index, entry) in entries.enumerated() {
            packed[index / 4] |= entry.code << UInt8(index % 4 * 2)
        }
        out.writeBytes(packed)
        for case .prefix(let prefix) in entries { out.writeInteger(prefix) }
    }

    init?(from input: inout ByteBuffer) {
        guard let (first, count) = input.readMultipleIntegers(as: (UInt64, UInt32).self),
            (1...Self.maximumBlocks).contains(Int(count)),
            let packed = input.readBytes(length: (Int(count) + 3) / 4)
        else { return nil }
        var entries: [Entry] = []
        entries.reserveCapacity(Int(count))
        for index in 0..<Int(count) {
            switch packed[index / 4] >> UInt8(index % 4 * 2) & 3 {
            case 0: entries.append(.zero)
            case 1:
                guard let prefix: UInt64 = input.readInteger() else { return nil }
                entries.append(.prefix(prefix))
            case 2: entries.append(.later)
            default: return nil
            }
        }
        self.init(first: first, entries: entries)
    }
}

extension ManifestSummary {
    func encode(into out: inout ByteBuffer) {
        out.writeMultipleIntegers(Message.Kind.summary.rawValue, first, UInt32(count))
        for group in groups { out.writeFingerprint(group) }
    }

    init?(from input: inout ByteBuffer) {
        guard let (first, count) = input.readMultipleIntegers(as: (UInt64, UInt32).self),
            (1...ManifestSegment.maximumBlocks).contains(Int(count))
        else { return nil }
        var groups: [Fingerprint] = []
        for _ in 0..<Self.groups(of: Int(count)) {
            guard let group = input.readFingerprint() else { return nil }
            groups.append(group)
        }
        self.init(first: first, count: Int(count), groups: groups)
    }
}

extension ManifestDifferences {
    func encode(into out: inout ByteBuffer) {
        out.writeMultipleIntegers(Message.Kind.differences.rawValue, first, UInt32(differs.count), present)
        out.writeBits(differs)
    }

    init?(from input: inout ByteBuffer) {
        guard let (first, count, present) = input.readMultipleIntegers(as: (UInt64, UInt32, UInt64).self),
            (1...ManifestSummary.groups(of: ManifestSegment.maximumBlocks)).contains(Int(count)),
            let differs = input.readBits(Int(count))
        else { return nil }
        self.init(first: first, differs: differs, present: present)
    }
}

extension ManifestSegment.Entry {
    var code: UInt8 {
        switch self {
        case .zero: 0
        case .prefix: 1
        case .later: 2
        }
    }
}

extension Wants {
    func encode(into out: inout ByteBuffer) {
        out.writeMultipleIntegers(
            Message.Kind.wants.rawValue, first, UInt32(wanted.count), present, repeated, neighbour)
        out.writeBits(wanted)
        out.writeFingerprint(check)
    }

    init?(from input: inout ByteBuffer) {
        guard
            let (first, count, present, repeated, neighbour) = input.readMultipleIntegers(
                as: (UInt64, UInt32, UInt64, UInt64, UInt64).self),
            (1...ManifestSegment.maximumBlocks).contains(Int(count)),
            let wanted = input.readBits(Int(count)), let check = input.readFingerprint()
        else { return nil }
        self.init(
            first: first, wanted: wanted, present: present, repeated: repeated, neighbour: neighbour, check: check)
    }
}

extension DataSegment {
    func encode(into out: inout ByteBuffer) {
        out.writeMultipleIntegers(Message.Kind.data.rawValue, UInt32(runs.count))
        for run in runs { out.writeMultipleIntegers(run.first, UInt32(run.count)) }
        out.writeImmutableBuffer(compressed)
    }

    init?(from input: inout ByteBuffer) {
        guard let count: UInt32 = input.readInteger(), Int(count) * 12 <= input.readableBytes else {
            return nil
        }
        var runs: [BlockRange] = []
        for _ in 0..<count {
            guard let (first, length) = input.readMultipleIntegers(as: (UInt64, UInt32).self) else {
                return nil
            }
            runs.append(BlockRange(first: first, count: UInt64(length)))
        }
        self.init(runs: runs, compressed: input.takeRest())
    }
}
