import MigrationProtocol

/// Reads what `MemoryTokenWriter` wrote, and trusts none of it. Every number is checked against the disks, the pages that
/// are kept, and the most bytes of a batch.
struct MemoryTokenReader {
    /// The bounds of references.
    struct Bounds {
        /// Whole pages of each disk; 0 if its blocks can't be read here.
        var blocks: [UInt64]
        /// The pages that can be referred to.
        var sent: Range<UInt64>
    }

    private var prediction = MemoryPrediction()

    /// Calls `body` with each run that a batch's tokens describe, in their order.
    /// - Parameters:
    ///   - literalBytes: the bytes beside the tokens, all of which must be used.
    ///   - maximumBytes: the most that the runs may come to.
    /// - Throws: `MigrationError.unexpected`. Some runs may have been passed on by then.
    mutating func read(
        _ tokens: UnsafeRawBufferPointer, literalBytes: Int, bounds: Bounds, maximumBytes: Int,
        _ body: (MemoryRun) -> Void
    ) throws {
        var input = NumberReader(tokens)
        var (left, literals) = (maximumBytes, literalBytes)
        while !input.isAtEnd {
            guard let run = try readRun(&input, bounds) else { continue }
            let (bytes, overflows) = run.pieceBytes.multipliedReportingOverflow(by: run.count)
            // A run that is short enough has few literals, too.
            guard !overflows, bytes <= left, run.literalBytes * run.count <= literals else {
                throw MigrationError.unexpected("a batch of memory describes more bytes than it may have")
            }
            left -= bytes
            literals -= run.literalBytes * run.count
            body(run)
        }
        guard literals == 0 else {
            throw MigrationError.unexpected("a batch of memory has bytes that nothing describes")
        }
        guard left < maximumBytes else { throw MigrationError.unexpected("a batch of memory describes nothing") }
    }

    /// - Returns: nil for a token that only says how to read later ones.
    private mutating func readRun(_ input: inout NumberReader, _ bounds: Bounds) throws -> MemoryRun? {
        let (token, count) = try input.token()
        switch token {
        case .bytes: return MemoryRun(.bytes, count: count)
        case .zeros, .pages, .disk, .sent: return try readPages(token, count, &input, bounds)
        case .header:
            guard count <= StreamPart.pageBytes else { throw Self.malformed }
            let header = prediction.header(at: try input.distance(), flags: UInt64(count - 1))
            let (token, count) = try input.token()
            guard prediction.hasHeaders else { throw Self.malformed }
            return try readPages(token, count, &input, bounds, header: header)
        case .selectDisk:
            guard count <= bounds.blocks.count else { throw Self.malformed }
            prediction.disk = count - 1
        case .layout:
            guard count <= 2 else { throw Self.malformed }
            prediction.hasHeaders = count == 1
        }
        return nil
    }

    private mutating func readPages(
        _ token: MemoryToken, _ count: Int, _ input: inout NumberReader, _ bounds: Bounds, header: UInt64? = nil
    ) throws -> MemoryRun {
        // A disk may be chosen between a header and its page.
        if token == .selectDisk {
            guard count <= bounds.blocks.count else { throw Self.malformed }
            prediction.disk = count - 1
            let (token, count) = try input.token()
            guard token == .disk else { throw Self.malformed }
            return try readPages(token, count, &input, bounds, header: header)
        }
        let source = try readSource(token, count, &input, bounds)
        guard prediction.hasHeaders else { return MemoryRun(source, count: count) }
        let isZero = source == .zeros
        let first = header ?? prediction.header(isZero: isZero)
        prediction.passed(first &+ UInt64(count - 1) &* UInt64(StreamPart.pageBytes), isZero: isZero)
        return MemoryRun(source, count: count, header: first)
    }

    private mutating func readSource(
        _ token: MemoryToken, _ count: Int, _ input: inout NumberReader, _ bounds: Bounds
    ) throws -> MemoryRun.Source {
        switch token {
        case .zeros: return .zeros
        case .pages: return .pages
        case .disk:
            let first = prediction.block &+ UInt64(bitPattern: try input.distance())
            guard prediction.disk < bounds.blocks.count,
                Self.holds(0..<bounds.blocks[prediction.disk], first, count)
            else { throw MigrationError.unexpected("a page refers to a block beyond the end of its disk") }
            prediction.block = first + UInt64(count)
            return .disk(prediction.disk, first: first)
        case .sent:
            let first = prediction.sent &+ UInt64(bitPattern: try input.distance())
            guard Self.holds(bounds.sent, first, count) else {
                throw MigrationError.unexpected("a page refers to one that is not kept")
            }
            prediction.sent = first + UInt64(count)
            return .sent(first: first)
        case .bytes, .header, .selectDisk, .layout: throw Self.malformed
        }
    }

    private static func holds(_ range: Range<UInt64>, _ first: UInt64, _ count: Int) -> Bool {
        range.contains(first) && UInt64(count) <= range.upperBound - first
    }

    private static var malformed: MigrationError { .unexpected("a malformed token of memory") }
}
