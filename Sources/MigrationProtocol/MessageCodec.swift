import BlockModel
import Hashing
import NIOCore
import PeerModel

/// Messages as bytes. Decoding trusts nothing: every count is checked against the bytes that are there before memory is
/// taken for it.
extension Message {
    fileprivate enum Kind: UInt8 {
        case hello = 1, welcome, refused
        case offer = 16, manifest, zeros, data, roundEnd, prepare, commit, cancel, manifestEnd, summary
        case accepted = 32, wants, roundDone, prepared, active, failed, manifestDone, acceptedOnBase, differences
        case request = 48, answer, introduce, introduced, successor
        case postcopy = 64

        /// Whether later releases may say more at the end.
        package var mayHaveMore: Bool { [.hello, .welcome, .refused].contains(self) }
    }

    fileprivate static let maximumText = 4096

    /// The message as one frame.
    public func encoded() -> ByteBuffer {
        var out = ByteBuffer()
        encode(into: &out)
        return out
    }

    private func encode(into out: inout ByteBuffer) {
        switch self {
        case .hello(let hello):
            out.writeMultipleIntegers(Kind.hello.rawValue, Hello.magic)
            hello.support.encode(into: &out)
            out.writeInteger(hello.purpose.rawValue)
            hello.migration.encode(into: &out)
            out.writeInteger(hello.isCommitted ? 1 : 0, as: UInt8.self)
            out.writeText(hello.export)
        case .welcome(let welcome):
            out.writeInteger(Kind.welcome.rawValue)
            welcome.support.encode(into: &out)
            out.writeMultipleIntegers(welcome.blockSize, welcome.boot)
        case .refused(let reason): out.writeReason(.refused, reason)
        case .offer(let offer): offer.encode(into: &out)
        case .manifest(let segment): segment.encode(into: &out)
        case .summary(let summary): summary.encode(into: &out)
        case .zeros(let range): out.writeMultipleIntegers(Kind.zeros.rawValue, range.first, range.count)
        case .data(let segment): segment.encode(into: &out)
        case .roundEnd(let round): out.writeMultipleIntegers(Kind.roundEnd.rawValue, round)
        case .prepare(let root): out.writeRoot(.prepare, root)
        case .commit: out.writeInteger(Kind.commit.rawValue)
        case .cancel(let reason): out.writeReason(.cancel, reason)
        case .accepted: out.writeInteger(Kind.accepted.rawValue)
        case .acceptedOnBase: out.writeInteger(Kind.acceptedOnBase.rawValue)
        case .differences(let differences): differences.encode(into: &out)
        case .wants(let wants): wants.encode(into: &out)
        case .roundDone(let round): out.writeMultipleIntegers(Kind.roundDone.rawValue, round)
        case .prepared(let root): out.writeRoot(.prepared, root)
        case .active: out.writeInteger(Kind.active.rawValue)
        case .manifestEnd: out.writeInteger(Kind.manifestEnd.rawValue)
        case .manifestDone: out.writeInteger(Kind.manifestDone.rawValue)
        case .failed(let reason): out.writeReason(.failed, reason)
        case .request(let request): request.encode(into: &out)
        case .answer(let answer):
            out.writeMultipleIntegers(Kind.answer.rawValue, answer.id, answer.error)
            out.writeImmutableBuffer(answer.payload)
        case .introduce(let migrations):
            out.writeMultipleIntegers(Kind.introduce.rawValue, UInt16(clamping: migrations.count))
            for migration in migrations.prefix(Int(UInt16.max)) { migration.encode(into: &out) }
        case .introduced: out.writeInteger(Kind.introduced.rawValue)
        case .successor(let successor): successor.encode(into: &out)
        case .postcopy(let message):
            out.writeInteger(Kind.postcopy.rawValue)
            message.encode(into: &out)
        }
    }

    /// The message that a frame holds.
    /// - Throws: `MigrationError.unexpected` where it holds none.
    public init(frame: ByteBuffer) throws {
        var input = frame
        let type: UInt8 = input.readInteger() ?? 0
        guard let kind = Kind(rawValue: type) else {
            throw MigrationError.unexpected("a message of unknown type \(type)")
        }
        guard let message = Self.decode(kind, &input), input.readableBytes == 0 || kind.mayHaveMore else {
            throw MigrationError.unexpected("a malformed message of type \(type)")
        }
        self = message
    }

    private static func decode(_ kind: Kind, _ input: inout ByteBuffer) -> Message? {
        switch kind {
        case .hello: Hello(from: &input).map(Message.hello)
        case .welcome: Welcome(from: &input).map(Message.welcome)
        case .refused: input.readReason().map { .refused(reason: $0) }
        case .offer: Offer(from: &input).map(Message.offer)
        case .manifest: ManifestSegment(from: &input).map(Message.manifest)
        case .summary: ManifestSummary(from: &input).map(Message.summary)
        case .zeros: BlockRange(from: &input).map(Message.zeros)
        case .data: DataSegment(from: &input).map(Message.data)
        case .roundEnd: input.readInteger().map(Message.roundEnd)
        case .prepare: DiskRoot(from: &input).map(Message.prepare)
        case .commit: .commit
        case .cancel: input.readReason().map { .cancel(reason: $0) }
        case .accepted: .accepted
        case .acceptedOnBase: .acceptedOnBase
        case .differences: ManifestDifferences(from: &input).map(Message.differences)
        case .wants: Wants(from: &input).map(Message.wants)
        case .roundDone: input.readInteger().map(Message.roundDone)
        case .prepared: DiskRoot(from: &input).map(Message.prepared)
        case .active: .active
        case .manifestEnd: .manifestEnd
        case .manifestDone: .manifestDone
        case .failed: input.readReason().map { .failed(reason: $0) }
        case .request: ForwardRequest(from: &input).map(Message.request)
        case .answer:
            input.readMultipleIntegers(as: (UInt64, Int32).self).map {
                .answer(ForwardAnswer(id: $0.0, error: $0.1, payload: input.takeRest()))
            }
        case .introduce: input.readMigrations().map(Message.introduce)
        case .introduced: .introduced
        case .successor: Successor(from: &input).map(Message.successor)
        case .postcopy: PostcopyMessage(from: &input).map(Message.postcopy)
        }
    }
}

extension Hello {
    fileprivate init?(from input: inout ByteBuffer) {
        guard let magic: UInt64 = input.readInteger(), magic == Self.magic,
            let support = ProtocolSupport(from: &input), let purpose: UInt8 = input.readInteger(),
            let migration = MigrationID(from: &input), let isCommitted: UInt8 = input.readInteger(),
            let export = input.readText(maximum: ExportName.maximumLength)
        else { return nil }
        self.init(
            support: support, purpose: Purpose(rawValue: purpose) ?? .unknown, migration: migration,
            isCommitted: isCommitted == 1, export: export)
    }
}

extension Welcome {
    fileprivate init?(from input: inout ByteBuffer) {
        guard let support = ProtocolSupport(from: &input), let blockSize: UInt32 = input.readInteger(),
            let boot: UInt64 = input.readInteger()
        else { return nil }
        self.init(support: support, blockSize: blockSize, boot: boot)
    }
}

extension ProtocolSupport {
    fileprivate func encode(into out: inout ByteBuffer) {
        out.writeMultipleIntegers(versions.lowerBound, versions.upperBound, capabilities.rawValue)
    }

    fileprivate init?(from input: inout ByteBuffer) {
        guard let (lowest, highest, capabilities) = input.readMultipleIntegers(as: (UInt16, UInt16, UInt64).self),
            lowest <= highest
        else { return nil }
        self.init(versions: lowest...highest, capabilities: Capabilities(rawValue: capabilities))
    }
}

extension Offer {
    fileprivate func encode(into out: inout ByteBuffer) {
        out.writeInteger(Message.Kind.offer.rawValue)
        migration.encode(into: &out)
        out.writeInteger(UInt8(clamping: abandoned.count))
        for attempt in abandoned.prefix(Int(UInt8.max)) { attempt.encode(into: &out) }
        out.writeMultipleIntegers(size, blockSize)
        out.writeText(export)
        out.writeInteger(UInt8(clamping: domains.count))
        for domain in domains.prefix(Int(UInt8.max)) { out.writeText(domain) }
        details?.encode(into: &out)
    }

    fileprivate init?(from input: inout ByteBuffer) {
        guard let migration = MigrationID(from: &input), let count: UInt8 = input.readInteger() else {
            return nil
        }
        var abandoned: [MigrationID] = []
        for _ in 0..<count {
            guard let attempt = MigrationID(from: &input) else { return nil }
            abandoned.append(attempt)
        }
        guard let (size, blockSize) = input.readMultipleIntegers(as: (UInt64, UInt32).self),
            let export = input.readText(maximum: ExportName.maximumLength), let domainCount: UInt8 = input.readInteger()
        else { return nil }
        var domains: [String] = []
        for _ in 0..<domainCount {
            guard let domain = input.readText(maximum: OfferLimits.longestDomain) else { return nil }
            domains.append(domain)
        }
        var details: OfferDetails?
        if input.readableBytes > 0 {
            guard let said = OfferDetails(from: &input) else { return nil }
            details = said
        }
        self.init(
            migration: migration, abandoned: abandoned, export: export, size: size, blockSize: blockSize,
            domains: domains, details: details)
    }
}

extension OfferDetails {
    private static let readOnly: UInt8 = 1 << 0
    private static let knowsData: UInt8 = 1 << 1

    fileprivate func encode(into out: inout ByteBuffer) {
        let flags = (isReadOnly ? Self.readOnly : 0) | (dataBytes == nil ? 0 : Self.knowsData)
        out.writeMultipleIntegers(flags, dataBytes ?? 0, dataBesides)
    }

    fileprivate init?(from input: inout ByteBuffer) {
        guard let (flags, data, besides) = input.readMultipleIntegers(as: (UInt8, UInt64, UInt64).self) else {
            return nil
        }
        self.init(
            isReadOnly: flags & Self.readOnly != 0, dataBytes: flags & Self.knowsData == 0 ? nil : data,
            dataBesides: besides)
    }
}

extension BlockRange {
    fileprivate init?(from input: inout ByteBuffer) {
        guard let (first, count) = input.readMultipleIntegers(as: (UInt64, UInt64).self) else { return nil }
        self.init(first: first, count: count)
    }
}

extension ManifestSegment {
    /// Two bits a block, then the prefixes of those that have one.
    fileprivate func encode(into out: inout ByteBuffer) {
        out.writeMultipleIntegers(Message.Kind.manifest.rawValue, first, UInt32(entries.count))
        var packed = [UInt8](repeating: 0, count: (entries.count + 3) / 4)
        for (index, entry) in entries.enumerated() {
            packed[index / 4] |= entry.code << UInt8(index % 4 * 2)
        }
        out.writeBytes(packed)
        for case .prefix(let prefix) in entries { out.writeInteger(prefix) }
    }

    fileprivate init?(from input: inout ByteBuffer) {
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
    fileprivate func encode(into out: inout ByteBuffer) {
        out.writeMultipleIntegers(Message.Kind.summary.rawValue, first, UInt32(count))
        for group in groups { out.writeFingerprint(group) }
    }

    fileprivate init?(from input: inout ByteBuffer) {
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
    fileprivate func encode(into out: inout ByteBuffer) {
        out.writeMultipleIntegers(Message.Kind.differences.rawValue, first, UInt32(differs.count), present)
        out.writeBits(differs)
    }

    fileprivate init?(from input: inout ByteBuffer) {
        guard let (first, count, present) = input.readMultipleIntegers(as: (UInt64, UInt32, UInt64).self),
            (1...ManifestSummary.groups(of: ManifestSegment.maximumBlocks)).contains(Int(count)),
            let differs = input.readBits(Int(count))
        else { return nil }
        self.init(first: first, differs: differs, present: present)
    }
}

extension ManifestSegment.Entry {
    fileprivate var code: UInt8 {
        switch self {
        case .zero: 0
        case .prefix: 1
        case .later: 2
        }
    }
}

extension Wants {
    fileprivate func encode(into out: inout ByteBuffer) {
        out.writeMultipleIntegers(
            Message.Kind.wants.rawValue, first, UInt32(wanted.count), present, repeated, neighbour)
        out.writeBits(wanted)
        out.writeFingerprint(check)
    }

    fileprivate init?(from input: inout ByteBuffer) {
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
    fileprivate func encode(into out: inout ByteBuffer) {
        out.writeMultipleIntegers(Message.Kind.data.rawValue, UInt32(runs.count))
        for run in runs { out.writeMultipleIntegers(run.first, UInt32(run.count)) }
        out.writeImmutableBuffer(compressed)
    }

    fileprivate init?(from input: inout ByteBuffer) {
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

extension ForwardRequest {
    fileprivate func encode(into out: inout ByteBuffer) {
        let flags: UInt8 = (isForced ? 1 : 0) | (mayPunchHole ? 2 : 0)
        out.writeMultipleIntegers(Message.Kind.request.rawValue, id, kind.rawValue, flags, offset, length)
        out.writeImmutableBuffer(payload)
    }

    fileprivate init?(from input: inout ByteBuffer) {
        guard
            let (id, kind, flags, offset, length) = input.readMultipleIntegers(
                as: (UInt64, UInt8, UInt8, UInt64, UInt64).self),
            let kind = RequestKind(rawValue: kind)
        else { return nil }
        self.init(
            id: id, kind: kind, isForced: flags & 1 != 0, mayPunchHole: flags & 2 != 0, offset: offset,
            length: length,
            payload: input.takeRest())
    }
}

extension Successor {
    fileprivate func encode(into out: inout ByteBuffer) {
        out.writeMultipleIntegers(Message.Kind.successor.rawValue, address.port, mayRepeat ? 1 : 0 as UInt8)
        out.writeText(address.host)
    }

    fileprivate init?(from input: inout ByteBuffer) {
        guard let (port, mayRepeat) = input.readMultipleIntegers(as: (UInt16, UInt8).self),
            let host = input.readText(maximum: PeerAddress.longestHost)
        else { return nil }
        self.init(address: PeerAddress(host: host, port: port), mayRepeat: mayRepeat == 1)
        guard address.isWellFormed else { return nil }
    }
}

extension ByteBuffer {
    fileprivate mutating func readMigrations() -> [MigrationID]? {
        guard let count: UInt16 = readInteger(), (1...OfferLimits.maximumAliases).contains(Int(count)) else {
            return nil
        }
        var migrations: [MigrationID] = []
        for _ in 0..<count {
            guard let migration = MigrationID(from: &self) else { return nil }
            migrations.append(migration)
        }
        return migrations
    }

    package mutating func writeFingerprint(_ fingerprint: Fingerprint) {
        writeMultipleIntegers(fingerprint.high, fingerprint.low)
    }

    package mutating func readFingerprint() -> Fingerprint? {
        readMultipleIntegers(as: (UInt64, UInt64).self).map { Fingerprint(high: $0.0, low: $0.1) }
    }

    /// Eight to a byte, the first one the lowest.
    package mutating func writeBits(_ bits: [Bool]) {
        var packed = [UInt8](repeating: 0, count: (bits.count + 7) / 8)
        for (index, isSet) in bits.enumerated() where isSet { packed[index / 8] |= 1 << UInt8(index % 8) }
        writeBytes(packed)
    }

    package mutating func readBits(_ count: Int) -> [Bool]? {
        readBytes(length: (count + 7) / 8).map { packed in
            (0..<count).map { packed[$0 / 8] >> UInt8($0 % 8) & 1 == 1 }
        }
    }

    fileprivate mutating func writeReason(_ kind: Message.Kind, _ reason: String) {
        // The other side takes this many bytes; a character may have any number of them.
        var reason = reason[...]
        while reason.utf8.count > Message.maximumText { reason.unicodeScalars.removeLast() }
        writeInteger(kind.rawValue)
        writeText(String(reason))
    }

    fileprivate mutating func writeRoot(_ kind: Message.Kind, _ root: DiskRoot) {
        writeInteger(kind.rawValue)
        writeBytes(root.bytes)
    }

    fileprivate mutating func writeText(_ text: String) {
        writeInteger(UInt16(clamping: text.utf8.count))
        writeBytes(text.utf8.prefix(Int(UInt16.max)))
    }

    fileprivate mutating func readText(maximum: Int) -> String? {
        guard let count: UInt16 = readInteger(), count <= maximum, let bytes = readBytes(length: Int(count))
        else {
            return nil
        }
        return String(validating: bytes, as: UTF8.self)
    }

    /// Text of a peer goes to logs and terminals: one line, and no commands to either.
    fileprivate mutating func readReason() -> String? {
        readText(maximum: Message.maximumText).map { text in
            String(
                String.UnicodeScalarView(
                    text.unicodeScalars.map { Self.isHidden($0) ? "?" : $0 }))
        }
    }

    /// Format characters turn the direction of what follows, or make it vanish; joiners only make words and pictures.
    private static func isHidden(_ scalar: Unicode.Scalar) -> Bool {
        if ["\u{200c}", "\u{200d}"].contains(scalar) { return false }
        return [.control, .format, .lineSeparator, .paragraphSeparator].contains(scalar.properties.generalCategory)
    }

    fileprivate mutating func takeRest() -> ByteBuffer {
        readSlice(length: readableBytes)!
    }
}
