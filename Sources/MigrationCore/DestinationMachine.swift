import BlockModel
import MigrationProtocol

/// The destination's side of a migration as a state machine. It judges every message before anything is touched, and
/// returns what to do.
///
/// 1. `waiting` for an offer. 2. `receiving` rounds: in the first one, segments of the manifest and the data that was
/// wanted of them. 3. `prepared`: everything is here, durable, and the roots are equal; it waits for the source's
/// commit, over a crash too. 4. `active`: the disk is served here.
package struct DestinationMachine: Equatable {
    /// The most blocks of a disk, so that each of its maps takes at most 512 MiB.
    private static let maximumBlocks: UInt64 = 1 << 32

    package enum State: Equatable {
        case waiting
        case receiving(BlockGeometry, round: UInt32)
        case prepared
        case active
        case abandoned
    }

    /// The driver's work for a message.
    package enum Action: Equatable {
        case open(Offer, BlockGeometry)
        case resolve(ManifestSegment)
        case compare(ManifestSummary)
        /// Say which blocks the neighbours have, and make them the prefix of the stream if the question is final.
        case answer(PrefixQuestion)
        case clear(Range<UInt64>)
        case store(DataSegment, bytes: Int)
        case finishManifest
        case finishRound(UInt32)
        case prepare(DiskRoot)
        /// Prepare the disk as it is, and say which blocks are missing.
        case prepareRest
        /// Answer clients before the switchover.
        case expect(Switchover)
        /// Forget these blocks, which clients of the source have written since they were sent.
        case forget([Range<UInt64>])
        /// Remember these blocks of the disk's dirty bitmap.
        case note(BitmapPart)
        case activate
        case abandon(reason: String)
    }

    package private(set) var state = State.waiting
    /// Questions for a prefix that may still come.
    private var questionsLeft = PrefixQuestion.maximumQuestions

    package init(state: State = State.waiting) {
        self.state = state
    }

    /// - Throws: `MigrationError.unexpected` if the message can't stand here; the migration is then over.
    package mutating func receive(_ message: Message) throws -> Action {
        switch (state, message) {
        case (.waiting, .offer(let offer)):
            return try open(offer)
        case (.receiving(let geometry, let round), .manifest(let segment)):
            guard round == 1 else { throw Self.unexpected("a manifest after the first round") }
            _ = try BlockRange(first: segment.first, count: UInt64(segment.entries.count)).blocks(of: geometry)
            return .resolve(segment)
        case (.receiving(let geometry, let round), .summary(let summary)):
            guard round == 1 else { throw Self.unexpected("a manifest after the first round") }
            _ = try BlockRange(first: summary.first, count: UInt64(summary.count)).blocks(of: geometry)
            return .compare(summary)
        case (.receiving(_, let round), .manifestEnd):
            guard round == 1 else { throw Self.unexpected("a manifest after the first round") }
            return .finishManifest
        case (.receiving(let geometry, _), .prefixQuestion(let question)):
            return .answer(try check(question, geometry))
        case (.receiving(let geometry, _), .zeros(let range)):
            _ = try range.blocks(of: geometry)
            return .clear(range.first..<range.first + range.count)
        case (.receiving(let geometry, _), .data(let segment)):
            return .store(segment, bytes: try Self.check(segment, geometry))
        case (.receiving(let geometry, let round), .roundEnd(let number)):
            guard number == round, round < .max else {
                throw Self.unexpected("the end of round \(number) in round \(round)")
            }
            state = .receiving(geometry, round: round + 1)
            return .finishRound(number)
        case (.receiving, .prepare(let root)):
            return .prepare(root)
        case (.receiving, .postcopy(.expect(let switchover))):
            return .expect(switchover)
        case (.receiving(let geometry, _), .postcopy(.dirty(let runs))):
            return .forget(
                try runs.map {
                    _ = try $0.blocks(of: geometry)
                    return $0.first..<$0.first + $0.count
                })
        case (.receiving(let geometry, _), .bitmap(let part)):
            try Self.check(part, geometry)
            return .note(part)
        case (.receiving, .postcopy(.leave)):
            return .prepareRest
        case (.prepared, .commit):
            return .activate
        case (.waiting, .cancel(let reason)), (.receiving, .cancel(let reason)),
            (.prepared, .cancel(let reason)):
            state = .abandoned
            return .abandon(reason: reason)
        default:
            throw Self.unexpected("a message out of turn")
        }
    }

    /// Records that everything is here and durable, and that the roots are equal.
    package mutating func prepared() {
        guard case .receiving = state else { preconditionFailure("only what was received can be prepared") }
        state = .prepared
    }

    package mutating func activated() {
        precondition(state == .prepared)
        state = .active
    }

    private mutating func open(_ offer: Offer) throws -> Action {
        if let problem = ExportName.problem(with: offer.export) { throw MigrationError.refused(problem) }
        let origins = offer.details?.origins ?? []
        guard GridLayout.isValid(origins, diskSize: offer.size) else {
            throw MigrationError.refused(
                "the \(origins.count) origins of the offered disk's blocks are not at most \(GridLayout.maximumOrigins) "
                    + "ascending multiples of 512 within its \(offer.size) bytes")
        }
        guard let geometry = offer.geometry, geometry.blockCount <= Self.maximumBlocks
        else {
            throw MigrationError.refused(
                "a disk of \(offer.size) bytes in blocks of \(offer.blockSize) can't be taken; it needs at least 1 byte, "
                    + "at most 2^32 blocks, and a block size of 512 to 65536, a power of two")
        }
        state = .receiving(geometry, round: 1)
        return .open(offer, geometry)
    }

    private static func check(_ part: BitmapPart, _ geometry: BlockGeometry) throws {
        guard let blocks = BlockGeometry(size: geometry.diskSize, blockSize: BitmapPart.blockSize),
            blocks.blockCount <= maximumBlocks
        else { throw unexpected("a dirty bitmap of more than 2^32 blocks") }
        for run in part.runs { _ = try run.blocks(of: blocks, called: "blocks of a dirty bitmap") }
    }

    private mutating func check(_ question: PrefixQuestion, _ geometry: BlockGeometry) throws -> PrefixQuestion {
        guard questionsLeft > 0 else { throw Self.unexpected("too many questions for a prefix") }
        guard question.prefixes.count <= PrefixQuestion.maximumBytes / geometry.blockSize else {
            throw Self.unexpected("a prefix of \(question.prefixes.count) blocks")
        }
        questionsLeft = question.isFinal ? 0 : questionsLeft - 1
        return question
    }

    /// Returns how many bytes the segment must unpack to.
    private static func check(_ segment: DataSegment, _ geometry: BlockGeometry) throws -> Int {
        var bytes: UInt64 = 0
        var position: UInt64 = 0
        for run in segment.runs {
            let blocks = try run.blocks(of: geometry)
            guard blocks.lowerBound >= position else { throw unexpected("blocks out of order") }
            position = blocks.upperBound
            bytes += geometry.byteCount(of: blocks)
            guard bytes <= DataSegment.maximumBytes else { throw unexpected("too much data in one message") }
        }
        guard bytes > 0 || segment.compressed.readableBytes > 0 else { throw unexpected("a data message of nothing") }
        return Int(bytes)
    }

    private static func unexpected(_ what: String) -> MigrationError {
        .unexpected(what)
    }
}
