import Block
import BlockModel
import MigrationCore
import MigrationProtocol
import NIOConcurrencyHelpers

/// Tells the destination what every block of a disk is, and takes what it wants of that; both at once. One that has an older
/// copy of the disk is told of groups of blocks first, and then of the blocks of those that differ.
struct ManifestExchange: Sendable {
    /// Blocks that may be without an answer, or whose answer has not been dealt with: so many that what is wanted is known
    /// well before it is sent, and bounded, as they take 24 bytes each. And the most segments.
    private static let mostBlocks = 1 << 20
    static let mostSegments = 1024
    /// What may have been scanned and not be told: all of it must be, where the disk is wanted at once.
    private static let mostUntold = 64

    private let scanner: ManifestScanner
    private let openSegments: NIOLockedValueBox<OpenSegments>
    private let geometry: BlockGeometry
    private let link: SourceLink
    private let hasBase: Bool

    /// - Parameter hasBase: whether the destination has an older copy of the disk.
    init(scanner: ManifestScanner, geometry: BlockGeometry, link: SourceLink, hasBase: Bool) {
        self.hasBase = hasBase
        self.scanner = scanner
        self.geometry = geometry
        self.link = link
        openSegments = NIOLockedValueBox(OpenSegments(geometry: geometry))
    }

    /// Goes over the whole disk and returns once everything is answered.
    /// - Parameters:
    ///   - isOver: asked now and then; what is left of the disk is then not told.
    ///   - zeros: given the bytes of zero blocks, and how many bytes of the disk need no answer therefore.
    ///   - answered: given each answer as it comes.
    ///   - wanted: given the same, one after the other, to be dealt with, and whether none waits behind it.
    func run(
        _ inbox: inout SourceInbox, isOver: @escaping @Sendable () -> Bool,
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
        // Not by whoever takes the answers: to wait for the link there would keep the destination waiting, and so the link.
        // Nor by whoever scans: what has been scanned meanwhile then goes out together, between two pieces of data.
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
            try await takeAnswers(&inbox, tellings.continuation) {
                answered($0)
                waiting.withLockedValue { $0 += 1 }
                answers.continuation.yield($0)
            }
        }
        tellings.continuation.finish()
        answers.continuation.finish()
        // Of a scan that has ended well nobody waits for one.
        credits.close()
        untold.close()
        _ = await (scanned, told, done)
        if let error = first.error { throw error }
    }

    /// Something to be told to the destination.
    private struct Telling: Sendable {
        let message: Message
        /// By the scan, which waits where too many of these do.
        var isScanned = false
    }

    /// What went wrong first: the rest follows from the link's being cut because of it.
    private final class FirstFailure: Sendable {
        private let box = NIOLockedValueBox<(any Error)?>(nil)

        var error: (any Error)? { box.withLockedValue { $0 } }

        func note(_ error: any Error) { box.withLockedValue { $0 = $0 ?? error } }
    }

    /// Where `work` fails, wakes whoever waits for answers that will not come.
    private func orCut(_ first: FirstFailure, _ work: () async throws -> Void) async {
        do {
            try await work()
        } catch {
            first.note(error)
            link.close()
        }
    }

    private func takeAnswers(
        _ inbox: inout SourceInbox, _ tellings: AsyncStream<Telling>.Continuation,
        _ take: (OpenSegments.Answer) -> Void
    ) async throws {
        while true {
            switch try await inbox.next() {
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
                throw MigrationError.unexpected("no wants")
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
                block += UInt64(segment.manifest.entries.count)
            }
        }
    }
}
