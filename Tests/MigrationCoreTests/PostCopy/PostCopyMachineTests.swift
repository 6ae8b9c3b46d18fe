import Hashing
import NIOCore
import Testing

@testable import BlockModel
@testable import MigrationCore
@testable import MigrationProtocol

/// A machine of a small disk, as its driver calls it.
private struct Driven {
    static let now = ContinuousClock.now
    static let capabilities = ProtocolSupport.own.capabilities

    let map: DurablePresentMap
    var machine: PostCopyMachine

    /// - Parameter present: blocks that have come before.
    init(blocks: UInt64 = 8, present: Range<UInt64> = 0..<0, _ tune: (inout PostCopyMachine.Limits) -> Void = { _ in })
    {
        let geometry = BlockGeometry(size: blocks * 4096, blockSize: 4096)!
        map = DurablePresentMap(geometry: geometry)
        if !present.isEmpty { map.markTaken(present) }
        var limits = PostCopyMachine.Limits(geometry)
        tune(&limits)
        machine = PostCopyMachine(map: map, limits: limits)
    }

    mutating func up(
        _ channel: PostCopyChannel, _ capabilities: ProtocolSupport.Capabilities = Driven.capabilities,
        at time: Duration = .zero
    ) -> [PostCopyMachine.Action] {
        machine.channelUp(channel, capabilities, at: Self.now + time)
    }

    /// Fills blocks that the source has sent.
    mutating func fill(_ blocks: Range<UInt64>, error: CInt = 0, at time: Duration = .zero) -> [PostCopyMachine.Action]
    {
        let fill = machine.arrived(blocks, from: .link)
        return machine.filled(fill, error: error, isAtHand: true, at: Self.now + time)
    }

    /// Takes a message with runs of blocks as the driver does.
    mutating func take(_ message: Message, on channel: PostCopyChannel = .bulk) throws -> [PostCopyMachine.Action] {
        guard case .store(let received)? = try machine.receive(message, on: channel).first else { return [] }
        var actions: [PostCopyMachine.Action] = []
        for run in received.runs { actions += fill(run) }
        return actions + machine.stored(received)
    }

    /// The source has said the fingerprints of the oldest question.
    mutating func describe(_ blocks: Range<UInt64>) throws -> [PostCopyMachine.Action] {
        let description = BlockDescription(
            first: blocks.lowerBound, fingerprints: blocks.map { Fingerprint(high: $0 + 1, low: 0) })
        guard case .record(let said)? = try machine.receive(.postcopy(.description(description)), on: .bulk).first
        else { return [] }
        return machine.described(said)
    }

    /// The problem that `status` shows.
    var problem: PostCopyMachine.Problem? {
        var machine = machine
        return machine.progress(at: Self.now).progress.problem
    }

    /// Performs one sequence of saving, of three steps at most.
    mutating func save(failing failed: SaveSequence.Step? = nil) -> [PostCopyMachine.Action] {
        var actions: [PostCopyMachine.Action] = [.save(.synchronizeImage)]
        for _ in 0..<3 {
            guard case .save(let step)? = actions.first else { break }
            actions = machine.saved(step == failed ? WorkFailure(code: 5, reason: "broken") : nil)
        }
        return actions
    }

    /// Leads a disk of which nothing is missing to where the source is asked for its root.
    mutating func verify(_ root: DiskRoot) {
        #expect(machine.start() == [.save(.synchronizeImage)])
        #expect(save() == [.computeRoot])
        #expect(machine.rootComputed(root) == [.sendReplaced, .send(.verify, on: .bulk)])
    }

    mutating func verified(_ root: DiskRoot) throws -> [PostCopyMachine.Action] {
        try machine.receive(.postcopy(.verified(root)), on: .bulk)
    }
}

@Suite("The machine of a disk that is served before all of it has come")
struct PostCopyMachineTests {
    private static let root = DiskRoot(Array(repeating: 7, count: 32))
    private static let other = DiskRoot(Array(repeating: 8, count: 32))

    private static func range(_ first: UInt64, _ count: UInt64) -> BlockRange { BlockRange(first: first, count: count) }

    private static func data(_ runs: [BlockRange]) -> Message {
        .data(DataSegment(runs: runs, compressed: ByteBuffer()))
    }

    // MARK: Messages

    private static let refused: [Message] = [
        data([]), data([range(7, 2)]), data([range(.max, 2)]), data([range(0, 0)]), data([range(3, 1), range(8, 1)]),
        .zeros(range(0, 9)), .zeros(range(.max, .max)), .zeros(range(2, 0)),
        .postcopy(.unreadable(range(8, 1), error: 5)), .postcopy(.unreadable(range(1, 0), error: 5)),
        .postcopy(.description(BlockDescription(first: 0, fingerprints: []))),
        .postcopy(.description(BlockDescription(first: 0, fingerprints: [.zero]))),
        .postcopy(.released), .postcopy(.rank), .postcopy(.verify), .postcopy(.need([])), .postcopy(.leave),
        .postcopy(.complete(Ledger())), .roundEnd(1), .commit, .refused(reason: ""), .cancel(reason: ""),
    ]

    @Test(
        "A message out of bounds or out of turn -> refused, nothing changes", arguments: refused,
        PostCopyChannel.allCases)
    func outOfTurn(_ message: Message, _ channel: PostCopyChannel) throws {
        var driven = Driven()
        #expect(driven.up(.demand) == [])
        #expect(driven.up(.bulk) == [.send(.rank, on: .bulk)])
        #expect(throws: MigrationError.self) { try driven.machine.receive(message, on: channel) }
        let ranked = try driven.machine.receive(.postcopy(.mostRead([])), on: .bulk)
        #expect(ranked == [.send(.describe([Self.range(0, 8)]), on: .bulk)])
        #expect(driven.map.missing == 8)
    }

    @Test("More bytes than one message may hold -> refused, however large the numbers")
    func tooMuchData() throws {
        let most = UInt64(DataSegment.maximumBytes / 4096)
        var driven = Driven(blocks: most * 4)
        for runs in [[Self.range(0, most + 1)], [Self.range(0, most), Self.range(most, 1)]] {
            #expect(throws: MigrationError.self) { try driven.machine.receive(Self.data(runs), on: .demand) }
        }
        guard
            case .store(let received)? = try driven.machine.receive(
                Self.data([Self.range(1, 1), Self.range(5, most - 1)]), on: .demand
            ).first
        else {
            Issue.record("as much as a message may hold is not stored")
            return
        }
        #expect(received.runs == [1..<2, 5..<4 + most])
        #expect(received.byteCount == DataSegment.maximumBytes)
    }

    @Test("More zeros than one question may ask for -> refused; a short message can't stand for the whole disk")
    func tooManyZeros() throws {
        let most = PostcopyMessage.maximumNeeded
        var driven = Driven(blocks: most * 4)
        for channel in PostCopyChannel.allCases {
            #expect(throws: MigrationError.self) {
                try driven.machine.receive(.zeros(Self.range(0, most + 1)), on: channel)
            }
            guard
                case .store(let received)? = try driven.machine.receive(.zeros(Self.range(1, most)), on: channel).first
            else {
                Issue.record("as many zeros as may be asked for are not stored")
                return
            }
            #expect(received.runs == [1..<1 + most])
        }
    }

    @Test(
        "Blocks that are not what was said of them -> refused, zeros like any others; nothing is known of unreadable ones"
    )
    func notAsDescribed() throws {
        let block = Fingerprint(high: 1, low: 2)
        try PostCopyMachine.check([block, .zero, .zero, block], against: [block, .zero, .unknown, .unknown])
        for (found, announced) in [(.zero, block), (block, .zero), (block, Fingerprint(high: 1, low: 3))] {
            #expect(throws: MigrationError.self) {
                try PostCopyMachine.check([.zero, found], against: [.zero, announced])
            }
        }
        var driven = Driven { $0.fill.segment = 4 }
        _ = driven.up(.bulk, .postcopy)
        _ = try driven.describe(0..<4)
        #expect(driven.machine.describedRuns(in: 2..<8) == [2..<4], "a run that is described in part is compared, too")
        #expect(driven.machine.describedRuns(in: 4..<8) == [])
    }

    @Test("Answers to questions over bulk that come over demand -> refused")
    func wrongChannel() throws {
        var driven = Driven()
        _ = driven.up(.bulk, .postcopy)
        let description = BlockDescription(first: 0, fingerprints: Array(repeating: .zero, count: 8))
        for message in [PostcopyMessage.description(description), .verified(Self.root), .mostRead([]), .released] {
            #expect(throws: MigrationError.self) { try driven.machine.receive(.postcopy(message), on: .demand) }
        }
    }

    @Test("What was read most is taken once a link, as far as it was asked and is within its bounds")
    func mostRead() throws {
        var driven = Driven { $0.partBlocks = 4 }
        func answer(_ ranges: [BlockRange]) throws -> [PostCopyMachine.Action] {
            try driven.machine.receive(.postcopy(.mostRead(ranges)), on: .bulk)
        }
        #expect(throws: MigrationError.self) { try answer([]) }
        #expect(driven.up(.bulk) == [.send(.rank, on: .bulk)])
        #expect(throws: MigrationError.self) { try answer([Self.range(0, 5)]) }
        let tooMany = Array(repeating: Self.range(0, 1), count: PostcopyMessage.maximumRanked + 1)
        #expect(throws: MigrationError.self) { try answer(tooMany) }
        let questions: [PostCopyMachine.Action] = [
            .send(.describe([Self.range(4, 4)]), on: .bulk), .send(.describe([Self.range(0, 4)]), on: .bulk),
        ]
        #expect(try answer([Self.range(4, 4)]) == questions)
        #expect(throws: MigrationError.self) { try answer([]) }
        driven.machine.channelDown(.bulk)
        #expect(throws: MigrationError.self) { try answer([]) }
        #expect(driven.up(.bulk) == [.send(.rank, on: .bulk)])
    }

    @Test("Free blocks are taken ahead of what was read most, as many as are asked for, and come last")
    func free() throws {
        var driven = Driven()
        func take(_ message: PostcopyMessage) throws -> [PostCopyMachine.Action] {
            try driven.machine.receive(.postcopy(message), on: .bulk)
        }
        #expect(throws: MigrationError.self) { try take(.free([Self.range(0, 1)])) }
        #expect(driven.up(.bulk) == [.send(.rank, on: .bulk)])
        #expect(throws: MigrationError.self) { try take(.free([Self.range(0, 1 << 40)])) }
        let tooMany = Array(repeating: Self.range(0, 1), count: PostcopyMessage.maximumFree + 1)
        #expect(throws: MigrationError.self) { try take(.free(tooMany)) }
        #expect(try take(.free([Self.range(0, 3), Self.range(6, 1)])) == [])
        let questions = [[Self.range(3, 3)], [Self.range(7, 1)], [Self.range(0, 3)], [Self.range(6, 1)]]
        #expect(try take(.mostRead([])) == questions.map { .send(.describe($0), on: .bulk) })
        #expect(throws: MigrationError.self) { try take(.free([Self.range(0, 1)])) }
    }

    @Test("A source that can't be asked about several runs -> asked from the first to the last of them")
    func describesRuns() {
        var driven = Driven(present: 2..<4)
        #expect(driven.up(.bulk, .postcopy) == [.send(.describe([Self.range(0, 8)]), on: .bulk)])
        driven.machine.channelDown(.bulk)
        let runs = [Self.range(0, 2), Self.range(4, 4)]
        #expect(driven.up(.bulk, [.postcopy, .describesRuns]) == [.send(.describe(runs), on: .bulk)])
    }

    @Test("Fingerprints answer the oldest question, and bind the bytes of the blocks")
    func descriptions() throws {
        var driven = Driven { $0.fill.segment = 4 }
        _ = driven.up(.bulk, .postcopy)
        for (first, count) in [(4, 4), (0, 3), (0, 5), (1, 4)] as [(UInt64, Int)] {
            let said = BlockDescription(first: first, fingerprints: Array(repeating: .zero, count: count))
            #expect(throws: MigrationError.self) {
                try driven.machine.receive(.postcopy(.description(said)), on: .bulk)
            }
        }
        #expect(!driven.machine.isDescribed(0..<1))
        guard case .search(let search)? = try driven.describe(0..<4).first else {
            Issue.record("a described segment is not searched")
            return
        }
        #expect(search.parts == [[0..<4]] && search.channel == .bulk)
        #expect(driven.machine.isDescribed(0..<4) && !driven.machine.isDescribed(3..<5))
    }

    // MARK: Channels

    @Test("Work that began on a lost bulk channel -> changes nothing on the next")
    func generations() throws {
        var driven = Driven { $0.fill.segment = 4 }
        _ = driven.up(.bulk, .postcopy)
        guard case .search(let search)? = try driven.describe(0..<4).first,
            case .record(let said)? = try driven.machine.receive(
                .postcopy(.description(BlockDescription(first: 4, fingerprints: [.zero, .zero, .zero, .zero]))),
                on: .bulk
            ).first
        else {
            Issue.record("no work")
            return
        }
        driven.machine.channelDown(.bulk)
        #expect(driven.up(.bulk, .postcopy).count == 2)
        #expect(driven.machine.searched(search, rest: [0..<4]) == [], "nothing is asked for an old segment")
        // It is true of the blocks all the same, but no answer to the new link's question.
        #expect(driven.machine.described(said) == [])
        #expect(driven.machine.isDescribed(4..<8))
        #expect(try driven.describe(0..<4).count == 1)
    }

    @Test(
        "Blocks of a segment that come in pieces -> the segment ends with the last, and the disk with the last segment")
    func awaited() throws {
        var driven = Driven()
        _ = driven.up(.bulk, .postcopy)
        guard case .search(let search)? = try driven.describe(0..<8).first else { return }
        _ = driven.fill(0..<2)
        #expect(driven.machine.searched(search, rest: [2..<8]) == [.send(.need([Self.range(2, 6)]), on: .bulk)])
        #expect(try driven.take(Self.data([Self.range(2, 4)])) == [])
        // Over the other channel they are not the answer.
        #expect(try driven.take(Self.data([Self.range(6, 2)]), on: .demand) == [])
        #expect(driven.map.missing == 0)
        #expect(try driven.take(.zeros(Self.range(6, 2))) == [.save(.synchronizeImage)])
    }

    @Test("A demand -> asked of the source, again after a lost link; described blocks are searched for here first")
    func demand() throws {
        var driven = Driven(blocks: 64)
        _ = driven.up(.demand)
        let operation = PostCopyScheduler.Operation(id: 1, kind: .read, bytes: 0..<4096, isForced: false)
        let question: [PostCopyMachine.Action] = [
            .send(.need([Self.range(0, 1)]), on: .demand), .send(.need([Self.range(1, 16)]), on: .demand),
        ]
        #expect(driven.machine.begin(operation) == question)
        driven.machine.channelDown(.demand)
        #expect(driven.up(.demand) == question)
        _ = driven.up(.bulk, .postcopy)
        _ = try driven.describe(0..<64)
        let later = PostCopyScheduler.Operation(id: 2, kind: .read, bytes: 40 * 4096..<41 * 4096, isForced: false)
        guard case .search(let search)? = driven.machine.begin(later).first else {
            Issue.record("no search")
            return
        }
        #expect(search.channel == .demand && search.parts == [[40..<41], [41..<57]])
        #expect(driven.machine.searched(search, rest: [40..<41]) == [.send(.need([Self.range(40, 1)]), on: .demand)])
    }

    @Test("A node that ends -> requests that wait end, and so do later ones")
    func stop() {
        var driven = Driven()
        let read = { PostCopyScheduler.Operation(id: $0, kind: .read, bytes: 0..<4096, isForced: false) }
        _ = driven.machine.begin(read(1))
        #expect(driven.machine.stop(error: 108) == [.finish(id: 1, error: 108)])
        #expect(driven.machine.begin(read(2)).contains(.finish(id: 2, error: 108)))
    }

    // MARK: Failures

    @Test("Blocks can't be stored -> reported once, and one retry, before which nothing more is brought")
    func pause() throws {
        var driven = Driven { $0.fill.segment = 4 }
        _ = driven.up(.bulk, .postcopy)
        let full = PostCopyMachine.Problem.cannotStore(error: 28)
        #expect(driven.fill(0..<1, error: 28) == [.report(full), .retry(after: .seconds(5))])
        #expect(driven.fill(1..<2, error: 28) == [])
        #expect(driven.fill(1..<2, error: 5) == [.report(.cannotStore(error: 5))])
        #expect(driven.machine.progress(at: Driven.now).progress.problem == .cannotStore(error: 5))
        #expect(try driven.describe(0..<4) == [], "nothing is brought meanwhile")
        guard case .search? = driven.machine.retry().first else {
            Issue.record("it does not go on")
            return
        }
        #expect(driven.problem == .cannotStore(error: 5), "nothing has succeeded yet")
        #expect(driven.fill(0..<1, error: 5) == [.retry(after: .seconds(5))], "reported before")
        _ = driven.fill(1..<2)
        #expect(driven.problem == .cannotStore(error: 5), "at most one end for each pause")
        _ = driven.machine.retry()
        let zeros = driven.machine.arrived(2..<3, from: .zero)
        _ = driven.machine.filled(zeros, error: 0, isAtHand: false, at: Driven.now)
        #expect(driven.problem == .cannotStore(error: 5), "a full disk takes zeros")
        _ = driven.fill(3..<4)
        #expect(driven.problem == nil)
        #expect(driven.fill(0..<1, error: 28) == [.report(full), .retry(after: .seconds(5))])
    }

    @Test("A link that comes during the pause -> nothing is brought before its end", arguments: [true, false])
    func linkDuringPause(canRank: Bool) throws {
        var driven = Driven()
        _ = driven.fill(0..<1, error: 28)
        if canRank {
            #expect(driven.up(.bulk) == [.send(.rank, on: .bulk)])
            #expect(try driven.machine.receive(.postcopy(.mostRead([])), on: .bulk) == [])
        } else {
            #expect(driven.up(.bulk, .postcopy) == [])
        }
        #expect(driven.machine.retry() == [.send(.describe([Self.range(0, 8)]), on: .bulk)])
    }

    @Test("The source can't read blocks -> requests for them end, and it is asked again after a pause")
    func unreadable() throws {
        var driven = Driven()
        _ = driven.up(.bulk, .postcopy)
        _ = driven.machine.begin(.init(id: 1, kind: .write, bytes: 10..<20, isForced: false))
        guard case .search(let search)? = try driven.describe(0..<8).first else { return }
        _ = driven.machine.searched(search, rest: [0..<8])
        // A code that is none is an error all the same.
        let actions = try driven.machine.receive(.postcopy(.unreadable(Self.range(0, 1), error: 0)), on: .bulk)
        let problem = PostCopyMachine.Problem.sourceCannotRead(error: 5)
        #expect(actions == [.finish(id: 1, error: 5), .report(problem), .retry(after: .seconds(5))])
        _ = try driven.take(.zeros(Self.range(1, 7)))
        // The segment is over, and what is still missing is gone over again.
        #expect(driven.machine.retry() == [.send(.describe([Self.range(0, 1)]), on: .bulk)])
        #expect(
            try driven.machine.receive(.postcopy(.unreadable(Self.range(0, 1), error: 5)), on: .bulk) == [
                .retry(after: .seconds(5))
            ], "reported before")
        _ = driven.machine.retry()
        #expect(driven.problem == problem)
        _ = driven.fill(0..<1)
        _ = driven.machine.retry()
        #expect(driven.problem == nil)
    }

    @Test("Blocks that the source can't read while a client waits for others -> demanded again after the pause")
    func unreadableLater() throws {
        var driven = Driven(present: 2..<8)
        _ = driven.up(.demand)
        let question = driven.machine.begin(.init(id: 1, kind: .read, bytes: 0..<2 * 4096, isForced: false))
        #expect(question == [.send(.need([Self.range(0, 2)]), on: .demand)])
        let problem = PostCopyMachine.Problem.sourceCannotRead(error: 5)
        #expect(
            try driven.machine.receive(.postcopy(.unreadable(Self.range(1, 1), error: 5)), on: .demand) == [
                .report(problem), .retry(after: .seconds(5)),
            ])
        #expect(driven.machine.retry() == [.send(.need([Self.range(1, 1)]), on: .demand)])
    }

    @Test("Blocks found here that can't be stored, while a write waits for the source -> searched for once a pause")
    func notStoredLater() throws {
        var driven = Driven()
        _ = driven.up(.bulk, .postcopy)
        _ = try driven.describe(0..<8)
        // The demand channel is down: the first block does not come.
        let begun = driven.machine.begin(.init(id: 1, kind: .write, bytes: 10..<2 * 4096 - 10, isForced: false))
        guard case .search(let search)? = begun.first else {
            Issue.record("no search")
            return
        }
        #expect(search.parts == [[0..<2], []])
        let full = PostCopyMachine.Problem.cannotStore(error: 28)
        let found = driven.machine.arrived(1..<2, from: .neighbour)
        #expect(
            driven.machine.filled(found, error: 28, isAtHand: true, at: Driven.now) == [
                .report(full), .retry(after: .seconds(5)),
            ])
        _ = driven.machine.searched(search, rest: [0..<1])
        guard case .search(let again)? = driven.machine.retry().first else {
            Issue.record("it is not searched for again")
            return
        }
        #expect(again.parts == [[1..<2], []])
    }

    // MARK: Durability and progress

    @Test("So many bytes are filled -> they are made durable, though nobody waits; fewer are not")
    func checkpoint() {
        var driven = Driven { $0.checkpointBytes = 3 * 4096 }
        #expect(driven.fill(0..<2) == [])
        #expect(driven.fill(2..<3) == [.save(.synchronizeImage)])
        #expect(driven.fill(3..<5) == [])
        #expect(driven.save() == [])
        // They count from the last checkpoint, and blocks that were not wanted do not.
        #expect(driven.fill(0..<3) == [])
        #expect(driven.fill(5..<6) == [.save(.synchronizeImage)])
    }

    @Test("A flush during a save -> a save of its own behind it, for what was written meanwhile")
    func flushes() {
        var driven = Driven()
        let flush = { PostCopyScheduler.Operation(id: $0, kind: .flush, bytes: 0..<0, isForced: true) }
        #expect(driven.machine.begin(flush(1)) == [.save(.synchronizeImage)])
        #expect(driven.machine.begin(flush(2)) == [])
        #expect(driven.save() == [.finish(id: 1, error: 0), .save(.synchronizeImage)])
        #expect(driven.save(failing: .synchronizeManifest) == [.finish(id: 2, error: 5)])
    }

    @Test("Progress -> told over demand at most every interval, and not to a source that does not listen")
    func telling() {
        var driven = Driven { $0.tellingInterval = .seconds(1) }
        _ = driven.up(.demand)
        #expect(driven.fill(0..<1, at: .milliseconds(900)) == [])
        let left = PostCopyMachine.Action.send(.left(missing: 6, milliseconds: 6000), on: .demand)
        #expect(driven.fill(1..<2, at: .milliseconds(1900)) == [left])
        #expect(driven.machine.progress(at: Driven.now + .milliseconds(2800)).actions == [])
        let (progress, actions) = driven.machine.progress(at: Driven.now + .milliseconds(2900))
        #expect(progress.missing == 6 && actions.count == 1)
        driven.machine.channelDown(.demand)
        _ = driven.up(.demand, .postcopy, at: .seconds(3))
        #expect(driven.machine.progress(at: Driven.now + .seconds(9)).actions == [])
    }

    @Test("The last block has come -> the source is told that nothing is missing")
    func toldAtEnd() {
        var driven = Driven()
        _ = driven.up(.demand)
        _ = driven.fill(0..<8)
        #expect(
            driven.machine.retry() == [
                .send(.left(missing: 0, milliseconds: nil), on: .demand), .save(.synchronizeImage),
            ])
    }

    // MARK: The end

    private static let steps: [SaveSequence.Step] = [.synchronizeImage, .synchronizeManifest]

    @Test("Saving fails ahead of the verification -> repeated after a pause, and not before", arguments: steps)
    func verificationRetried(_ step: SaveSequence.Step) {
        var driven = Driven(present: 0..<8)
        #expect(driven.machine.start() == [.save(.synchronizeImage)])
        let problem = PostCopyMachine.Problem.cannotSave(reason: "broken")
        #expect(driven.save(failing: step) == [.report(problem), .retry(after: .seconds(5))])
        _ = driven.machine.begin(.init(id: 1, kind: .write, bytes: 0..<4096, isForced: false))
        #expect(driven.machine.performed(1, error: 0) == [.finish(id: 1, error: 0)])
        #expect(driven.machine.retry() == [.save(.synchronizeImage)])
        #expect(driven.save() == [.computeRoot])
        let broken = WorkFailure(code: 5, reason: "broken")
        #expect(driven.machine.rootFailed(broken) == [.retry(after: .seconds(5))], "reported before")
        #expect(driven.machine.retry() == [.save(.synchronizeImage)])
        #expect(driven.problem == problem)
        _ = driven.save()
        _ = driven.machine.rootComputed(Self.root)
        #expect(driven.problem == nil)
    }

    @Test("Roots that differ -> reported until the end, nothing is completed, and the next link asks again")
    func rootsDiffer() throws {
        var driven = Driven(present: 0..<8)
        driven.verify(Self.root)
        let problem = PostCopyMachine.Problem.rootsDiffer(source: Self.other, destination: Self.root)
        #expect(try driven.verified(Self.other) == [.report(problem)])
        #expect(driven.machine.retry() == [])
        #expect(driven.machine.progress(at: Driven.now).progress.problem == problem)
        driven.machine.channelDown(.bulk)
        #expect(driven.up(.bulk) == [.sendReplaced, .send(.verify, on: .bulk)])
        #expect(try driven.verified(Self.root).count == 1)
    }

    @Test("A root that nobody has asked for -> ignored")
    func unaskedRoot() throws {
        var driven = Driven(present: 0..<7)
        #expect(try driven.verified(Self.root) == [])
        driven = Driven(present: 0..<8)
        _ = driven.machine.start()
        #expect(try driven.verified(Self.root) == [])
    }

    @Test("Equal roots -> complete once that is durable; said again on each link, until the source has heard")
    func complete() throws {
        var driven = Driven(present: 0..<6)
        _ = driven.fill(6..<7)
        _ = driven.machine.begin(.init(id: 1, kind: .write, bytes: 7 * 4096..<8 * 4096, isForced: false))
        #expect(driven.machine.performed(1, error: 0) == [.finish(id: 1, error: 0), .save(.synchronizeImage)])
        _ = driven.save()
        _ = driven.machine.rootComputed(Self.root)
        let ledger = Ledger(present: 4096, link: 4096)
        #expect(try driven.verified(Self.root) == [.recordCompletion(ledger)])
        #expect(try driven.verified(Self.root) == [], "it is being recorded")
        #expect(throws: MigrationError.self) { try driven.machine.receive(.postcopy(.released), on: .bulk) }
        let said = [PostCopyMachine.Action.send(.complete(ledger), on: .bulk)]
        #expect(driven.machine.completionRecorded() == said)
        driven.machine.channelDown(.bulk)
        #expect(driven.up(.bulk) == said)
        #expect(try driven.machine.receive(.postcopy(.released), on: .bulk) == [.closeChannels])
    }

    @Test("The completion can't be recorded -> the source is not told, and the next link asks for the root again")
    func unrecorded() throws {
        var driven = Driven(present: 0..<8)
        driven.verify(Self.root)
        _ = try driven.verified(Self.root)
        driven.machine.completionFailed()
        driven.machine.channelDown(.bulk)
        #expect(driven.up(.bulk) == [.sendReplaced, .send(.verify, on: .bulk)])
        #expect(try driven.verified(Self.root) == [.recordCompletion(Ledger())])
    }

    @Test("A link that comes while the disk is saved or hashed -> asked for its root once that is known")
    func linkWhileSaving() {
        var driven = Driven(present: 0..<8)
        _ = driven.machine.start()
        #expect(driven.up(.bulk) == [])
        _ = driven.save()
        driven.machine.channelDown(.bulk)
        #expect(driven.up(.bulk) == [])
        #expect(driven.machine.rootComputed(Self.root) == [.sendReplaced, .send(.verify, on: .bulk)])
    }
}
