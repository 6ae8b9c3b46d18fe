import NIOCore

/// As `MessageCodec`, for the messages of a guest's memory: a second type byte, then the fields.
extension MemoryMessage {
    private enum Kind: UInt8 {
        case offer = 1, batch, repair, end
        case accepted = 16, delivered, again, back, backEnd, ended
    }

    func encode(into out: inout ByteBuffer) {
        switch self {
        case .offer(let offer):
            out.writeInteger(Kind.offer.rawValue)
            offer.encode(into: &out)
        case .batch(let batch):
            out.writeMultipleIntegers(Kind.batch.rawValue, UInt32(batch.tokenBytes), UInt32(batch.literalBytes))
            out.writeFingerprint(batch.proof)
            out.writeImmutableBuffer(batch.compressed)
        case .repair(let bytes):
            out.writeInteger(Kind.repair.rawValue)
            out.writeImmutableBuffer(bytes)
        case .end(let byteCount, let digest):
            out.writeMultipleIntegers(Kind.end.rawValue, byteCount)
            out.writeBytes(digest.bytes)
        case .accepted(let history, let readable):
            precondition(readable.count <= MemoryOffer.maximumDisks)
            out.writeMultipleIntegers(Kind.accepted.rawValue, history, UInt8(readable.count))
            out.writeBits(readable)
        case .delivered(let batches): out.writeMultipleIntegers(Kind.delivered.rawValue, batches)
        case .again(let batch): out.writeMultipleIntegers(Kind.again.rawValue, batch)
        case .back(let bytes):
            precondition(bytes.readableBytes <= Self.maximumBack)
            out.writeInteger(Kind.back.rawValue)
            out.writeImmutableBuffer(bytes)
        case .backEnd: out.writeInteger(Kind.backEnd.rawValue)
        case .ended: out.writeInteger(Kind.ended.rawValue)
        }
    }

    init?(from input: inout ByteBuffer) {
        guard let type: UInt8 = input.readInteger(), let kind = Kind(rawValue: type),
            let message = Self.decode(kind, &input)
        else { return nil }
        self = message
    }

    private static func decode(_ kind: Kind, _ input: inout ByteBuffer) -> MemoryMessage? {
        switch kind {
        case .offer: MemoryOffer(from: &input).map(MemoryMessage.offer)
        case .batch: MemoryBatch(from: &input).map(MemoryMessage.batch)
        case .repair: .repair(input.takeRest())
        case .end:
            input.readInteger().flatMap { byteCount in
                DiskRoot(from: &input).map { .end(byteCount: byteCount, digest: $0) }
            }
        case .accepted: readAccepted(&input)
        case .delivered: input.readInteger().map { .delivered(batches: $0) }
        case .again: input.readInteger().map { .again(batch: $0) }
        case .back: input.readableBytes <= maximumBack ? .back(input.takeRest()) : nil
        case .backEnd: .backEnd
        case .ended: .ended
        }
    }

    private static func readAccepted(_ input: inout ByteBuffer) -> MemoryMessage? {
        guard let (history, count) = input.readMultipleIntegers(as: (UInt32, UInt8).self),
            count <= MemoryOffer.maximumDisks, let readable = input.readBits(Int(count))
        else { return nil }
        return .accepted(history: history, readable: readable)
    }
}

extension MemoryBatch {
    fileprivate init?(from input: inout ByteBuffer) {
        guard let (tokens, literals) = input.readMultipleIntegers(as: (UInt32, UInt32).self),
            let proof = input.readFingerprint(), tokens > 0, UInt64(tokens) + UInt64(literals) <= Self.maximumPacked
        else { return nil }
        self.init(
            tokenBytes: Int(tokens), literalBytes: Int(literals), proof: proof, compressed: input.takeRest())
    }
}

extension MemoryOffer {
    private enum DiskKind: UInt8 {
        case migration = 0, export
    }

    fileprivate func encode(into out: inout ByteBuffer) {
        out.writeInteger(UInt8(disks.count))
        for disk in disks {
            switch disk {
            case .migration(let migration):
                out.writeInteger(DiskKind.migration.rawValue)
                migration.encode(into: &out)
            case .export(let name):
                out.writeInteger(DiskKind.export.rawValue)
                out.writeText(name)
            }
        }
    }

    fileprivate init?(from input: inout ByteBuffer) {
        guard let count: UInt8 = input.readInteger(), count <= Self.maximumDisks else { return nil }
        var disks: [Disk] = []
        for _ in 0..<count {
            guard let kind = input.readInteger(as: UInt8.self).flatMap(DiskKind.init) else { return nil }
            let disk: Disk? =
                switch kind {
                case .migration: MigrationID(from: &input).map(Disk.migration)
                case .export: input.readText(maximum: ExportName.maximumLength).map(Disk.export)
                }
            guard let disk else { return nil }
            disks.append(disk)
        }
        self.init(disks: disks)
    }
}
