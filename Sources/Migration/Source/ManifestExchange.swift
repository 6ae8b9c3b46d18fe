import Block
import BlockModel
import MigrationCore
import MigrationProtocol
import NIOConcurrencyHelpers

/// Tells the destination the content of every block of a disk, and receives its wants at the same time. A destination
/// that has an older copy of the disk gets summaries of groups of blocks first. It then gets the blocks of the groups
/// that differ.
struct ManifestExchange: Sendable {
    /// The most blocks without an answer, or with one that has not been processed. This many show well in advance which
    /// blocks are wanted; they take 24 bytes each.
    private static let mostBlocks = 1 << 20
    /// The most segments without an answer, or with one that has not been processed.
    static let mostSegments = 1024
    /// The most messages that have been scanned and not been sent: all of them must be, even if the disk is wanted at once.
    private static let mostUntold = 64

    private let scanner: ManifestScanner
    private let openSegments: NIOLockedValueBox<OpenSegments>
    private let geometry: BlockGeometry
    private let link: SourceLink
    private let hasBase: Bool
    private let blockMap: SourceBlockMap?

    /// - Parameters:
    ///   - hasBase: whether the destination has an older copy of the disk.
    ///   - free: blocks that are probably free; they are sent behind all others.
    ///   - blockMap: learns of zero blocks; nil if nothing moves.
    init(
        scanner: ManifestScanner, geometry: BlockGeometry, link: SourceLink, hasBase: Bool, free: BlockSet? = nil,
        blockMap: SourceBlockMap? = nil
    ) {
        self.blockMap = blockMap
        self.hasBase = hasBase
        self.scanner = scanner
        self.geometry = geometry
        self.link = link
        openSegments = NIOLockedValueBox(OpenSegments(geometry: geometry, free: free))
    }

    /// The wanted blocks that have been put off, once everything has been answered, and what they may come to compressed, by
    /// their size.
    var putOff: (order: FreeBlocksLast, ratio: Double) { openSegments.withLockedValue { $0.putOff } }

    /// Goes over the whole disk and returns once everything is answered.
    /// - Parameters:
    ///   - isOver: asked now and then; once true, the rest of the disk is not told.
    ///   - zeros: called with the bytes of zero blocks, and with bytes of the disk that need no answer therefore.
    ///   - answered: called with each answer as it comes.
    ///   - wanted: called with each answer, one after the other, and whether none waits behind it.
    func run(
        _ receiver: inout SourceReceiver, isOver: @escaping @Sendable () -> Bool,
        zeros: @escaping @Sendable (_ bytes: UInt64, _ settled: UInt64) -> Void,
        answered: (OpenSegments.Answer) -> Void,
        wanted: @escaping @Sendable (OpenSegments.Answer, _ nothingWaits: Bool) async throws -> Void
    ) async throws {
        let credits = AsyncSemaphore(min(Self.mostSegments, Self.mostBlocks / scanner.segmentBlocks))
        let answers = AsyncStream.makeStream(of: OpenSegments.Answer.self)
        let tellings = AsyncStream.makeStream(of: Telling.self)
        let untold = AsyncSemaphore(Self.mostUntold)
        let first = FirstFailure()
        let waiting = NIOLockedValueBox(0)
        async let scanned: Void = orCut(first) {
            try await scan(credits, isOver, zeros) { message in
                try await untold.acquire()
                tellings.continuation.yield(Telling(message: message, isScanned: true))
            }
            if openSegments.withLockedValue({ $0.end() }) {
                tellings.continuation.yield(Telling(message: .manifestEnd))
            }
        }
        // A task of its own: waiting for the link where answers are taken would keep the destination waiting, and so
        // the link. Messages that are scanned meanwhile go out together, between two pieces of data.
        async let told: Void = orCut(first) {
            for await telling in tellings.stream {
                try await link.send(telling.message)
                if telling.isScanned { untold.release() }
            }
        }
        async let done: Void = orCut(first) {
            for await answer in answers.stream {
                let nothingWaits = waiting.withLockedValue { waiting in
                    waiting -= 1
                    return waiting == 0
                }
                try await wanted(answer, nothingWaits)
                if answer.isLast { credits.release() }
            }
        }
        await orCut(first) {
            try await takeAnswers(&receiver, tellings.continuation) {
                answered($0)
                waiting.withLockedValue { $0 += 1 }
                answers.continuation.yield($0)
            }
        }
        tellings.continuation.finish()
        answers.continuation.finish()
        // If the scan succeeded, nothing is waiting for a credit.
        credits.close()
        untold.close()
        _ = await (scanned, told, done)
        if let error = first.error { throw error }
    }

    /// A message that is to be told to the destination.
    private struct Telling: Sendable {
        let message: Message
        /// The message comes from the scan, which waits while too many of these do.
        var isScanned = false
    }

    /// Keeps the first error: the others follow from the cut link.
    private final class FirstFailure: Sendable {
        private let box = NIOLockedValueBox<(any Error)?>(nil)

        var error: (any Error)? { box.withLockedValue { $0 } }

        func note(_ error: any Error) { box.withLockedValue { $0 = $0 ?? error } }
    }

    /// If `work` fails, cuts the link, so that nothing waits for answers that will not come.
    private func orCut(_ first: FirstFailure, _ work: () async throws -> Void) async {
        do {
            try await work()
        } catch {
            first.note(error)
            link.close()
        }
    }

    private func takeAnswers(
        _ receiver: inout SourceReceiver, _ tellings: AsyncStream<Telling>.Continuation,
        _ take: (OpenSegments.Answer) -> Void
    ) async throws {
        while true {
            switch try await receiver.next() {
            case .wants(let wants):
                take(try openSegments.withLockedValue { try $0.answer(wants) })
            case .differences(let differences):
                let comparison = try openSegments.withLockedValue { try $0.compare(differences) }
                for answer in comparison.settled { take(answer) }
                for segment in comparison.rest { tellings.yield(Telling(message: .manifest(segment.manifest))) }
                if openSegments.withLockedValue({ $0.endComparison() }) {
                    tellings.yield(Telling(message: .manifestEnd))
                }
            case .manifestDone:
                guard openSegments.withLockedValue({ $0.isAnswered }) else {
                    throw MigrationError.unexpected("an end of wants that are owed")
                }
                return
            default:
                preconditionFailure("the machine lets only answers through")
            }
        }
    }

    private func scan(
        _ credits: AsyncSemaphore, _ isOver: @Sendable () -> Bool, _ zeros: @Sendable (UInt64, UInt64) -> Void,
        _ tell: @Sendable (Message) async throws -> Void
    ) async throws {
        var block: UInt64 = 0
        while true {
            if isOver() { return }
            switch try await scanner.step(from: block) {
            case .end:
                return
            case .zeros(let blocks):
                try await tell(.zeros(BlockRange(blocks)))
                let bytes = geometry.byteCount(of: blocks)
                zeros(bytes, bytes)
                blockMap?.record(blocks, from: .zero)
                block = blocks.upperBound
            case .segment(let segment):
                try await credits.acquire()
                if hasBase {
                    openSegments.withLockedValue { $0.addSummary(of: segment) }
                    try await tell(.summary(ManifestSummary(of: segment.manifest, segment.fingerprints)))
                } else {
                    openSegments.withLockedValue { $0.add(segment) }
                    try await tell(.manifest(segment.manifest))
                }
                zeros(segment.zeroBytes, 0)
                blockMap?.record(zerosOf: segment.manifest)
                block += UInt64(segment.manifest.entries.count)
            }
        }
    }
}
