import Block

/// Tells the destination what every block of a disk is, and takes what it wants of that; both at once.
struct ManifestExchange: Sendable {
    /// Manifest segments that may be without an answer: enough for 200 ms of a fast link, and bounded.
    private static let window = 64

    private let scanner: ManifestScanner
    private let openSegments: OpenSegments
    private let geometry: BlockGeometry
    private let link: SourceLink

    init(scanner: ManifestScanner, geometry: BlockGeometry, link: SourceLink) {
        self.scanner = scanner
        self.geometry = geometry
        self.link = link
        openSegments = OpenSegments(geometry: geometry)
    }

    /// Goes over the whole disk and returns once everything is answered.
    /// - Parameters:
    ///   - isOver: asked now and then; what is left of the disk is then not told.
    ///   - zeros: given the bytes of zero blocks, and how many bytes of the disk need no answer therefore.
    ///   - wanted: given an answer, and the blocks that it asks for.
    func run(
        _ inbox: inout SourceInbox, isOver: @escaping @Sendable () -> Bool,
        zeros: @escaping @Sendable (_ bytes: UInt64, _ settled: UInt64) -> Void,
        wanted: (Wants, OpenSegments.Answer) async throws -> Void
    ) async throws {
        let credits = AsyncStream.makeStream(of: Void.self)
        for _ in 0..<Self.window { credits.continuation.yield() }
        async let scanned: Void = scan(credits.stream, isOver, zeros)
        do {
            try await takeAnswers(&inbox, credits.continuation, wanted)
        } catch {
            link.close()
            credits.continuation.finish()
            // Where the image could not be read, that is the reason, and the link was cut because of it.
            do { try await scanned } catch let failure as FileError { throw failure } catch {}
            throw error
        }
        try await scanned
    }

    private func takeAnswers(
        _ inbox: inout SourceInbox, _ credits: AsyncStream<Void>.Continuation,
        _ wanted: (Wants, OpenSegments.Answer) async throws -> Void
    ) async throws {
        while true {
            switch try await inbox.next() {
            case .wants(let wants):
                try await wanted(wants, try openSegments.answer(wants))
                credits.yield()
            case .manifestDone:
                return
            default:
                throw MigrationError.unexpected("no wants")
            }
        }
    }

    private func scan(
        _ credits: AsyncStream<Void>, _ isOver: @Sendable () -> Bool, _ zeros: @Sendable (UInt64, UInt64) -> Void
    ) async throws {
        do {
            try await scanAll(credits, isOver, zeros)
        } catch {
            // Wakes whoever waits for answers that will not come.
            link.close()
            throw error
        }
    }

    private func scanAll(
        _ credits: AsyncStream<Void>, _ isOver: @Sendable () -> Bool, _ zeros: @Sendable (UInt64, UInt64) -> Void
    ) async throws {
        var credit = credits.makeAsyncIterator()
        var block: UInt64 = 0
        while true {
            if isOver() { return try await link.send(.manifestEnd) }
            switch try await scanner.step(from: block) {
            case .end:
                return try await link.send(.manifestEnd)
            case .zeros(let blocks):
                try await link.send(.zeros(BlockRange(blocks)))
                let bytes = geometry.byteCount(of: blocks)
                zeros(bytes, bytes)
                block = blocks.upperBound
            case .segment(let segment, let fingerprints, let zeroBytes):
                guard await credit.next() != nil else { throw CancellationError() }
                openSegments.add(segment, fingerprints)
                try await link.send(.manifest(segment))
                zeros(zeroBytes, 0)
                block += UInt64(segment.entries.count)
            }
        }
    }
}
