import Testing

@testable import MigrationCore

/// The result of a parser that was given a stream in pieces.
struct ParsedStream: Equatable {
    /// The parts, with no two neighbouring ones of the kind `.bytes`.
    let parts: [StreamPart]
    let problem: String?
    let stage: MemoryStage

    /// Parses a stream whose bytes arrive in pieces. Nothing more is there at the end.
    /// - Parameters:
    ///   - sizes: the size of the next piece.
    ///   - waits: whether nothing more is there for a while after the piece that ends at an offset.
    init(
        _ stream: [UInt8], sizes: () -> Int = { .max }, waits: (Int) -> Bool = { _ in false },
        sourceLocation: SourceLocation = #_sourceLocation
    ) {
        var parser = GuestStreamParser()
        var parts: [StreamPart] = []
        var (covered, arrived) = (0, 0)
        var isRight = true
        stream.withUnsafeBytes { bytes in
            repeat {
                arrived += min(sizes(), bytes.count - arrived)
                let isWaiting = arrived == bytes.count || waits(arrived)
                let before = parts.count
                let piece = UnsafeRawBufferPointer(rebasing: bytes[covered..<arrived])
                let count = parser.parse(piece, isWaiting: isWaiting, into: &parts)
                isRight = isRight && Self.isRight(parts[before...], count, of: piece.count, isWaiting: isWaiting)
                covered += count
            } while arrived < bytes.count
            isRight = isRight && covered == bytes.count
        }
        #expect(isRight, "the parts do not cover the stream", sourceLocation: sourceLocation)
        self.parts = ExpectedStream.merged(parts)
        problem = parser.problem
        stage = parser.stage
    }

    /// Whether an answer of a parser is what the protocol promises.
    private static func isRight(_ parts: ArraySlice<StreamPart>, _ count: Int, of total: Int, isWaiting: Bool) -> Bool {
        let areRight = parts.allSatisfy {
            $0.count > 0 && ($0.kind == .bytes || $0.count == StreamPart.count(of: $0.kind))
        }
        let left = total - count
        return areRight && parts.reduce(0) { $0 + $1.count } == count && left >= 0 && left < (isWaiting ? 1 : 8 << 10)
    }

    /// The number of parts of a kind.
    func count(_ kind: StreamPart.Kind) -> Int { parts.count { $0.kind == kind } }

    /// The number of pages that are not zero.
    var pages: Int { count(.page) + count(.barePage) }

    /// The offsets at which parts begin.
    var places: Set<Place> {
        var offset = 0
        var places: Set<Place> = []
        for part in parts {
            places.insert(Place(kind: part.kind, offset: offset))
            offset += part.count
        }
        return places
    }

    struct Place: Hashable {
        let kind: StreamPart.Kind
        let offset: Int
    }
}
