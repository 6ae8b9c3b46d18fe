import NIOCore

/// Messages as bytes. Decoding trusts nothing: every count is checked against the bytes that are there before memory is
/// taken for it.
extension Message {
    enum Kind: UInt8 {
        case hello = 1, welcome, refused
        case offer = 16, manifest, zeros, data, roundEnd, prepare, commit, cancel, manifestEnd, summary, bitmap
        case prefixQuestion
        case accepted = 32, wants, roundDone, prepared, active, failed, manifestDone, acceptedOnBase, differences
        case prefixAnswer
        case request = 48, answer, introduce, introduced, successor
        case postcopy = 64, memory = 80
        case probe = 96, probed
        case neighbourRead = 112, neighbourBytes
        case arrivalQuestion = 120, arrivalAnswer, arrivalRead, arrivalBytes

        /// Whether later releases may say more at the end.
        var mayHaveMore: Bool { [.hello, .welcome, .refused].contains(self) }
    }

    static let maximumText = 4096
    /// The last byte of a refusal for lack of room.
    private static let noRoom: UInt8 = 1

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
        case .refusedForRoom(let reason):
            out.writeReason(.refused, reason)
            out.writeInteger(Self.noRoom)
        case .offer(let offer): offer.encode(into: &out)
        case .manifest(let segment): segment.encode(into: &out)
        case .summary(let summary): summary.encode(into: &out)
        case .prefixQuestion(let question): question.encode(into: &out)
        case .zeros(let range): out.writeMultipleIntegers(Kind.zeros.rawValue, range.first, range.count)
        case .data(let segment): segment.encode(into: &out)
        case .roundEnd(let round): out.writeMultipleIntegers(Kind.roundEnd.rawValue, round)
        case .bitmap(let part): part.encode(into: &out)
        case .prepare(let root): out.writeRoot(.prepare, root)
        case .commit: out.writeInteger(Kind.commit.rawValue)
        case .cancel(let reason): out.writeReason(.cancel, reason)
        case .accepted: out.writeInteger(Kind.accepted.rawValue)
        case .acceptedOnBase: out.writeInteger(Kind.acceptedOnBase.rawValue)
        case .differences(let differences): differences.encode(into: &out)
        case .wants(let wants): wants.encode(into: &out)
        case .prefixAnswer(let answer): answer.encode(into: &out)
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
        case .memory(let message):
            out.writeInteger(Kind.memory.rawValue)
            message.encode(into: &out)
        case .probe(let payload):
            out.writeInteger(Kind.probe.rawValue)
            out.writeImmutableBuffer(payload)
        case .probed(let answer): answer.encode(into: &out)
        case .neighbourRead(let read): read.encode(into: &out)
        case .neighbourBytes(let answer): answer.encode(into: &out)
        case .arrivalQuestion(let question): question.encode(into: &out)
        case .arrivalAnswer(let answer): answer.encode(into: &out)
        case .arrivalRead(let read): read.encode(into: &out)
        case .arrivalBytes(let answer): answer.encode(into: &out)
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
        case .refused:
            input.readReason().map { reason in
                input.readInteger() == noRoom ? .refusedForRoom(reason: reason) : .refused(reason: reason)
            }
        case .offer: Offer(from: &input).map(Message.offer)
        case .manifest: ManifestSegment(from: &input).map(Message.manifest)
        case .summary: ManifestSummary(from: &input).map(Message.summary)
        case .prefixQuestion: PrefixQuestion(from: &input).map(Message.prefixQuestion)
        case .zeros: BlockRange(from: &input).map(Message.zeros)
        case .data: DataSegment(from: &input).map(Message.data)
        case .roundEnd: input.readInteger().map(Message.roundEnd)
        case .bitmap: BitmapPart(from: &input).map(Message.bitmap)
        case .prepare: DiskRoot(from: &input).map(Message.prepare)
        case .commit: .commit
        case .cancel: input.readReason().map { .cancel(reason: $0) }
        case .accepted: .accepted
        case .acceptedOnBase: .acceptedOnBase
        case .differences: ManifestDifferences(from: &input).map(Message.differences)
        case .wants: Wants(from: &input).map(Message.wants)
        case .prefixAnswer: PrefixAnswer(from: &input).map(Message.prefixAnswer)
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
        case .memory: MemoryMessage(from: &input).map(Message.memory)
        case .probe: .probe(input.takeRest())
        case .probed: ProbeAnswer(from: &input).map(Message.probed)
        case .neighbourRead: NeighbourRead(from: &input).map(Message.neighbourRead)
        case .neighbourBytes: NeighbourBytes(from: &input).map(Message.neighbourBytes)
        case .arrivalQuestion: ArrivalQuestion(from: &input).map(Message.arrivalQuestion)
        case .arrivalAnswer: ArrivalAnswer(from: &input).map(Message.arrivalAnswer)
        case .arrivalRead: ArrivalRead(from: &input).map(Message.arrivalRead)
        case .arrivalBytes: ArrivalBytes(from: &input).map(Message.arrivalBytes)
        }
    }
}
